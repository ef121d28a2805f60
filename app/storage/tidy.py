"""Forgets what can be made again or what nobody needs: packed downloads, uploads left half-way,
folders of deleted runs.

Nothing that was used a moment ago is touched, and whoever is reading a file reads it to its end:
the system keeps an open file until it is closed.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from app.database import reading
from app.models import Dataset
from app.runs.deletion import remove_left_over
from app.settings import get_settings

NEARLY_FULL = 0.8
# A packed artifact is kept for a day after its last download; of a disk that is nearly full, the
# ones that nobody has asked for longest go first.
KEPT_SECONDS = 24 * 3600.0
IN_USE_SECONDS = 600.0
# An upload writes all the time; one that has not for so long was cut off.
LEFT_SECONDS = 3600.0


def tidy() -> int:
    """Remove what is not needed; returns how many files."""
    now = time.time()
    left = (*_unfinished(), *_unnamed())
    return (
        remove_left_over()
        + sum(_forget(path) for path in left if _unused(path, now) > LEFT_SECONDS)
        + sum(_forget(path) for path in packed() if _unused(path, now) > KEPT_SECONDS)
        + _make_room(now)
    )


def packed() -> list[Path]:
    """The zips of artifacts, whoever was served longest ago first."""
    found = get_settings().runs_dir.glob("*/downloads/*.zip")
    return sorted(found, key=_last_used)


def is_nearly_full() -> bool:
    """Whether more than four fifths of the disk are taken."""
    disk = shutil.disk_usage(get_settings().home)
    return disk.used > NEARLY_FULL * disk.total


def _make_room(now: float) -> int:
    count = 0
    for path in packed():
        if not is_nearly_full() or _unused(path, now) < IN_USE_SECONDS:
            break
        count += _forget(path)
    return count


def _unfinished() -> Iterator[Path]:
    settings = get_settings()
    yield from settings.runs_dir.glob("*/downloads/.*.part")
    yield from settings.datasets_dir.glob("quarantine/*")


def _unnamed() -> Iterator[Path]:
    """Contents of datasets that no row has: it was deleted, or never came to be."""
    files = list(get_settings().datasets_dir.glob("[0-9a-f][0-9a-f]/*.jsonl"))
    if not files:
        return
    with reading() as session:
        named = set(session.scalars(select(Dataset.sha256)))
    yield from (path for path in files if path.stem not in named)


def _unused(path: Path, now: float) -> float:
    return now - _last_used(path)


def _last_used(path: Path) -> float:
    """Of a file that is gone: now, so that nobody removes it again."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _forget(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True
