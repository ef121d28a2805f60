"""Whether a folder may stand in the library: its files, its weights' headers, its tokenizer.

What is found wrong is told as a sentence about a file, never with what stands in it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.i18n import N_
from app.library.license import CARD, FILES, license_of
from app.settings import get_settings
from labs.models import ModelFacts, ModelRefused, read_facts

# What transformers may read of a folder; a change of anything else changes no run.
READ = (".json", ".safetensors", ".jinja", ".model", ".txt")
MOST_FILES = 2_000

# (name, bytes, nanoseconds of its last change) of each file that a run reads.
Stamp = list[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Sound:
    """A folder that holds a model."""

    folder: Path
    facts: ModelFacts
    stamp: Stamp
    license: str


def check_folder(folder: Path) -> Sound:
    """Read a folder as a run would, without loading weights.

    Raises:
        LabError: With the reason why no run could start from it.
        OSError: If it cannot be read.
    """
    # Preflight asks for a model's standing, and so loads this file.
    from app.runs.preflight.tokens import row_tokenizer

    try:
        resolved = folder.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, RuntimeError) as error:
        raise _no_folder(folder) from error
    if not resolved.is_dir():
        raise _no_folder(folder)
    _refuse_private(resolved)
    stamp = stamp_of(resolved)
    for name in (*(name for name, _size, _time in stamp), CARD, *FILES):
        _refuse_elsewhere(resolved, name)
    facts = read_facts(resolved)
    row_tokenizer(resolved)
    return Sound(resolved, facts, stamp, license_of(resolved))


def _no_folder(folder: Path) -> ModelRefused:
    return ModelRefused("There is no model folder “{name}”.", name=folder.name)


def stamp_of(folder: Path) -> Stamp:
    """Names, sizes and times of the files that a run reads.

    Raises:
        OSError: If the folder cannot be listed.
        ModelRefused: If it holds more files than any model.
    """
    found = sorted(_read_files(folder))
    if len(found) > MOST_FILES:
        raise ModelRefused(
            N_("“{name}” holds more than {limit} files. Give the folder of one model."),
            name=folder.name, limit=MOST_FILES,
        )  # fmt: skip
    return found


def _read_files(folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        kept = 0
        for entry in entries:
            if kept <= MOST_FILES and _is_read(entry):
                kept += 1
                state = entry.stat()
                yield entry.name, state.st_size, state.st_mtime_ns


def _is_read(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    # A link that leads to itself is no file.
    return name.endswith(READ) and name.isprintable() and Path(entry.path).is_file()


def _refuse_private(folder: Path) -> None:
    """The site's own data are somebody's: a run's results go when their owner says so."""
    settings = get_settings()
    home, models = settings.home.resolve(), settings.models_dir.resolve()
    if folder.is_relative_to(home) and not folder.is_relative_to(models):
        raise ModelRefused(
            N_("“{name}” lies in the data folder of this site, where it may vanish with its run. Copy it elsewhere first."),
            name=folder.name,
        )  # fmt: skip


def _refuse_elsewhere(folder: Path, name: str) -> None:
    path = folder / name
    if path.is_symlink() and not _stays(folder, Path(os.path.realpath(path))):
        raise ModelRefused(
            N_("The file {file} of “{name}” is a link that leads out of the folder. Put the file itself there."),
            name=folder.name, file=name,
        )  # fmt: skip
    if path.is_file() and not os.access(path, os.R_OK):
        raise ModelRefused(
            N_("The file {file} of “{name}” may not be read by the account that Bunsen runs as."),
            name=folder.name, file=name,
        )  # fmt: skip


def _stays(folder: Path, target: Path) -> bool:
    """A link may stay in the folder, or lead to the blobs of the hub's own cache."""
    is_snapshot = folder.parent.name == "snapshots"
    blobs = folder.parent.parent / "blobs" if is_snapshot else folder
    return target.is_relative_to(folder) or target.parent == blobs
