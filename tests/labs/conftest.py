"""Fixtures of the lab tests: one tiny model for the whole session, one thread."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.labs.tiny import make_dataset, make_model

# The thread that watches over progress bars would outlive the test that drew the first one.
importlib.import_module("tqdm").tqdm.monitor_interval = 0


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that no test changes."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset file that no test changes."""
    return make_dataset(tmp_path_factory.mktemp("datasets") / "letters.jsonl")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads gain nothing at this size and slow each other down on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
