"""Models that runs serve: their keys, the way to them, and the card on the run's page."""
