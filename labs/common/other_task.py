"""A second task for a base that has learned only one: the same files with other numbers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

# Far enough that every logit moves, near enough that no 16-bit number overflows.
SPREAD = 0.1


@contextmanager
def other_task(folder: Path) -> Iterator[Path]:
    """A copy of an artifact whose weights are moved at random; gone when the context closes.

    Switching between two copies of one task would prove nothing: a switch that does nothing
    would pass as well.
    """
    with TemporaryDirectory() as beside:
        copy = Path(shutil.copytree(folder, Path(beside, "task")))
        dice = torch.Generator().manual_seed(0)
        for path in sorted(copy.glob("*.safetensors")):
            weights = load_file(path)
            moved = {
                name: (each + SPREAD * torch.randn(each.shape, generator=dice)).to(each.dtype)
                for name, each in weights.items()
            }
            save_file(moved, path)
        yield copy
