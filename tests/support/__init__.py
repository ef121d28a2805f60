"""Servers, a browser and rows for the tests."""
