"""Whence a run's model comes and what was made of it."""
