"""Base models that runs start from."""
