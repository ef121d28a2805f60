"""The first page: a person's own work."""
