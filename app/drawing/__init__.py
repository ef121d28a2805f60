"""Pictures of measured values, drawn by the server: axes, names beside points, fronts, plots."""
