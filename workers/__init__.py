"""The processes that carry runs out: device workers and the housekeeper."""
