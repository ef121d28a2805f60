"""The run directory of a result that is taken over: linked beside, renamed after the commit.

Nothing of it stands where a trainer would look until the rows say that the run is over, so a
crash in between leaves either a run that still waits or one whose folder `settle` puts in place.
"""

import os
import shutil
import time
from pathlib import Path
from uuid import UUID

from app.database import reading
from app.models import Run
from app.settings import get_settings

BESIDE = ".taken-"
LINKED = ("artifacts", "stages")
# They may say the folder's name, which is the other run's id: both ids are equally long.
REWRITTEN = ("output.log", "events.jsonl")
UNFINISHED_SECONDS = 3600


def link_beside(source_id: UUID, run_id: UUID) -> None:
    """Make the folder of a run out of another's files, under a name that nobody reads."""
    source, beside = get_settings().run_dir(source_id), _beside(run_id)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in LINKED:
        if (source / name).is_dir():
            _link_tree(source / name, beside / name)
    for name in REWRITTEN:
        if (source / name).is_file():
            _rewrite(source / name, beside / name, source_id, run_id)


def forget(run_id: UUID) -> None:
    """Take back what `link_beside` made."""
    shutil.rmtree(_beside(run_id), ignore_errors=True)


def put_in_place(run_id: UUID) -> None:
    """Give the folder its name; doing it again changes nothing."""
    beside, target = _beside(run_id), get_settings().run_dir(run_id)
    if not beside.is_dir():
        return
    if target.exists():
        shutil.rmtree(target)
    beside.rename(target)


def settle() -> int:
    """Finish or forget what a crash left beside; returns how many folders."""
    found = [path for path in get_settings().runs_dir.glob(f"{BESIDE}*") if path.is_dir()]
    return sum(_settle(path) for path in found)


def _settle(path: Path) -> bool:
    run_id = UUID(path.name.removeprefix(BESIDE))
    with reading() as session:
        run = session.get(Run, run_id)
    if run is not None and run.same_as_id is not None:
        put_in_place(run_id)
        return True
    # Somebody may be taking it at this moment.
    if time.time() - path.stat().st_mtime < UNFINISHED_SECONDS:
        return False
    forget(run_id)
    return True


def _beside(run_id: UUID) -> Path:
    return get_settings().runs_dir / f"{BESIDE}{run_id}"


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, copy_function=_link, ignore=shutil.ignore_patterns(".*"), symlinks=True
    )


def _link(source: str, target: str) -> None:
    """A second name for the same bytes; a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _rewrite(source: Path, target: Path, old: UUID, new: UUID) -> None:
    before, after = str(old).encode(), str(new).encode()
    with source.open("rb") as read, target.open("wb") as write:
        for line in read:
            write.write(line.replace(before, after))
