"""A checkpoint that any byte of was not written is not resumed from."""

from pathlib import Path

import pytest

from labs.contract import LabContext
from labs.published import MANIFEST
from tests.labs.runs import make_context, make_spec

PAGE = 4096
FILES = {"weights": 3 * PAGE + 100, "optimizer": 2 * PAGE, "position.json": 20}


def save(folder: Path) -> None:
    for name, size in FILES.items():
        (folder / name).write_bytes(b"x" * size)


def tears() -> list[tuple[str, int]]:
    """Each file at each page, and one byte short."""
    short = [
        (name, cut) for name, size in FILES.items() for cut in (*range(0, size, PAGE), size - 1)
    ]
    return [*short, (MANIFEST, 0), (MANIFEST, 50)]


@pytest.mark.parametrize(("name", "length"), tears())
@pytest.mark.parametrize("torn", [1, 2])
def test_whatever_is_torn_the_newest_whole_one_is_resumed(
    tmp_path: Path, name: str, length: int, torn: int
) -> None:
    run: LabContext = make_context(tmp_path, make_spec(tmp_path, tmp_path))
    run.checkpoint(5, save)
    run.checkpoint(10, save)
    steps = [10, 5]
    for step in steps[:torn]:
        with (tmp_path / f"checkpoints/step-{step:08d}" / name).open("r+b") as file:
            file.truncate(length)
    found = run.latest_checkpoint()
    assert (found[0] if found else None) == (5 if torn == 1 else None)
