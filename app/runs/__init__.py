"""Runs: how they are submitted, queued, carried out and found."""
