"""A full disk, told apart from other failures, and room kept to say so. Imports no torch."""

import errno
import shutil
from pathlib import Path

from labs.contract import Cause, LabError

# No room at all, a used-up quota, a limit on the size of one file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What safetensors and torch say, which write in native code.
WORDS = (*(f"os error {number}" for number in FULL), "No space left", "quota exceeded")
TORCH_WORDS = ("inline_container", "PytorchStreamWriter", "iostream error")
NO_ROOM_BYTES = 1 << 20
RESERVE = ".reserve"
RESERVE_BYTES = 1 << 16


class DiskFull(LabError):
    """Nothing more can be written; what was published before is kept."""

    cause = Cause.DISK_FULL


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether a failure came from a full disk or a used-up quota.

    Ask before anything is cleaned up: torch gives no reason, so the room left must tell.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    if any(word in text for word in WORDS):
        return True
    return (
        any(word in text for word in TORCH_WORDS) and shutil.disk_usage(folder).free < NO_ROOM_BYTES
    )


def keep_reserve(folder: Path) -> None:
    """Take a little room that the last event can have when there is no other."""
    (folder / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)


def give_up_reserve(folder: Path) -> None:
    """Make room for the last event."""
    (folder / RESERVE).unlink(missing_ok=True)
