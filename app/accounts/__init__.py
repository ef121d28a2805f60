"""People: how they get in, their passwords, sessions and tokens."""
