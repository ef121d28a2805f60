"""The check of an upload: small texts here, all else in a process of its own with limits.

Reading a stranger's Parquet may take any amount of memory or crash its reader, and reading 2 GB of
text takes minutes of a processor. Neither may hold up the pages of others.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from app.errors import Unavailable
from app.i18n import N_
from app.settings import ROOT
from labs.contract import LabError
from labs.datasets import Verdict
from labs.files.parquet import MAGIC
from labs.intake import DISK_ENDED, MEMORY_ENDED, Order, heard, take

SMALL_BYTES = 256 << 10
AT_ONCE = 2
# Waiting longer than this for a turn helps nobody.
TURN_SECONDS = 600.0
NO_ROOM = N_("The disk of this site has no room for the file.")
# Its memory is counted by address: no spare arenas, and no threads that it does not need.
FRUGAL = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
# Of our environment; nothing that a reader gone wrong could tell.
PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
_turns = threading.BoundedSemaphore(AT_ONCE)


class TooHard(LabError):
    """Checking the file took more than any file may take."""


def check(order: Order) -> Verdict:
    """The verdict on a file.

    Raises:
        TooHard: If reading it takes too much memory or time, or crashes its reader.
        Unavailable: If too many others are being checked, or the disk has no room.
    """
    if _is_small_text(Path(order.path)):
        return _here(order)
    if not _turns.acquire(timeout=TURN_SECONDS):
        raise Unavailable(N_("Too many datasets are being checked. Send it again later."))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "labs.intake"],
            cwd=ROOT,
            env={**{name: os.environ[name] for name in PASSED_ON if name in os.environ}, **FRUGAL},
            input=json.dumps(asdict(order)),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        _turns.release()
    if done.returncode == 0:
        return heard(done.stdout)
    raise _reason(done.returncode, order.memory_bytes >> 20)


def _here(order: Order) -> Verdict:
    try:
        return take(order)
    except OSError as error:
        raise Unavailable(NO_ROOM) from error


def _is_small_text(path: Path) -> bool:
    with path.open("rb") as file:
        return path.stat().st_size <= SMALL_BYTES and file.read(len(MAGIC)) != MAGIC


def _reason(code: int, limit: int) -> Exception:
    if code == MEMORY_ENDED:
        return TooHard(N_("Reading the file takes more than {limit} MiB of memory."), limit=limit)
    if code == -signal.SIGXCPU:
        return TooHard(N_("Reading the file takes too long. Send it in several parts."))
    if code == DISK_ENDED:
        return Unavailable(NO_ROOM)
    if code in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
        return TooHard(N_("The file makes its reader crash: it is damaged."))
    return Unavailable(
        N_("The check of the file was ended (code {code}). Send it again."), code=code
    )
