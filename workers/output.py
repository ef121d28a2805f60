"""`output.log` of a flooding run: its first and its last part are kept, the disk is not filled."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)
FILE = "output.log"
MOST_BYTES = 64 << 20
KEPT_BYTES = 8 << 20


class OutputCap:
    """Holds what one attempt writes into its log below a size.

    The trainer appends, so it goes on at the new end when the middle is cut out. What it
    writes during the cut itself may be lost with the middle.
    """

    def __init__(self, run_dir: Path, most: int = MOST_BYTES, kept: int = KEPT_BYTES) -> None:
        self._path = run_dir / FILE
        self._most, self._kept = most, kept
        # Earlier attempts' output is before it, and stays.
        self._head_end = self._size() + kept
        self._left_out = 0
        self._mark = b""

    def hold(self) -> None:
        """Cut the middle out if there is too much."""
        if self._size() - self._head_end + self._kept <= self._most:
            return
        try:
            self._cut()
        except OSError:
            # A full disk, most likely: the next look tries again.
            log.warning("%s is too long and could not be cut", self._path, exc_info=True)

    def _cut(self) -> None:
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size - self._kept)
            tail = file.read(self._kept)
            self._left_out += size - self._head_end - len(self._mark) - len(tail)
            self._mark = f"\n[… {self._left_out} bytes of output left out …]\n".encode()
            file.truncate(self._head_end)
            file.seek(0, os.SEEK_END)
            file.write(self._mark + tail)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0
