"""Randomness that can be repeated and put back."""

import random
from pathlib import Path

import torch


def seed_everything(seed: int) -> None:
    """Seed Python's and torch's generators, on every device."""
    random.seed(seed)
    torch.manual_seed(seed)


def save_random_state(path: Path) -> None:
    """Write the state of torch's generators (Python's is only used through seeds)."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    torch.save(states, path)


def restore_random_state(path: Path) -> None:
    """Put back what `save_random_state` wrote."""
    states = torch.load(path, weights_only=True)
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
