"""Datasets that runs learn from."""
