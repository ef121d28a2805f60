"""Repeatable measurements, run by hand: `python -m benchmarks [name …]`. Never asserted in tests."""
