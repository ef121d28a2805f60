"""The devices that carry runs out."""
