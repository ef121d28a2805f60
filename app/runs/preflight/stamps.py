"""Names, sizes and times of files: whether something must be read again."""

from datetime import datetime
from pathlib import Path

# (path within the folder, bytes, nanoseconds of its last change) of each file.
Stamp = tuple[tuple[str, int, int], ...]
# A dataset's row is written right after its file; disks round times.
SLACK_SECONDS = 2


def stamp_of(path: Path, pattern: str = "*") -> Stamp:
    """The stamp of a file, or of the files directly in a folder; raises `OSError` without it."""
    if path.is_file():
        return (_entry(path),)
    return tuple(_entry(each) for each in sorted(path.glob(pattern)) if each.is_file())


def modified_after(stamp: Stamp, moment: datetime) -> bool:
    """Whether a file changed after a moment."""
    return any(time > (moment.timestamp() + SLACK_SECONDS) * 1e9 for _name, _size, time in stamp)


def _entry(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return path.name, found.st_size, found.st_mtime_ns
