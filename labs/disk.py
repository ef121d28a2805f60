"""A full disk, told apart from other failures, and room kept to say so. Imports no torch."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labs.contract import Cause, LabError

FULL = (errno.ENOSPC, errno.EDQUOT)
# safetensors and torch write in native code and put the reason into words, or not at all.
WORDS = (*(f"os error {number}" for number in FULL), "No space left", "quota exceeded")
TORCH_WORDS = "PytorchStreamWriter failed"
NO_ROOM_BYTES = 1 << 20
RESERVE = ".reserve"
RESERVE_BYTES = 1 << 16


class DiskFull(LabError):
    """Nothing more can be written; what was published before is kept."""

    cause = Cause.DISK_FULL


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether a failure came from a full disk or a used-up quota."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    if any(word in text for word in WORDS):
        return True
    return TORCH_WORDS in text and shutil.disk_usage(folder).free < NO_ROOM_BYTES


@contextmanager
def naming_full_disk(folder: Path, failure: Callable[[], DiskFull]) -> Iterator[None]:
    """Raise `failure()` in place of whatever a full disk made go wrong inside."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error, folder):
            raise failure() from error
        raise


def keep_reserve(folder: Path) -> None:
    """Take a little room that the last event can have when there is no other."""
    (folder / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)


def give_up_reserve(folder: Path) -> None:
    """Make room for the last event."""
    (folder / RESERVE).unlink(missing_ok=True)
