"""Runs that were started as one: a sweep over values, or a scoreboard of methods."""
