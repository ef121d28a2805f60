"""Sweeps: one or two parameters of a lab over several values, as one group of runs."""
