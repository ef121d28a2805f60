"""Rows of whatever file as the JSON Lines that the site keeps: only the columns that are used."""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labs.files.rows import MIB, ROW_LIMIT, Bad, too_long
from labs.formats import Format
from labs.splits import SPLIT_COLUMN


class TooMuch(Bad):
    """More text than may be kept; nothing further is worth reading."""


class Keeper:
    """Writes rows to a file that does not exist yet."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self.rows = 0
        self.bytes = 0
        self._limit = limit_bytes
        self._digest = hashlib.sha256()
        self._file = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()

    def write(self, row: dict[str, Any], form: Format) -> tuple[int, int]:
        """Keep a row of that format; gives its line (from 1) and the byte it begins at.

        Raises:
            Bad: If the row cannot be kept.
            TooMuch: If no further one can.
        """
        used = (*form.columns, *form.optional, SPLIT_COLUMN)
        try:
            text = json.dumps(
                {name: row[name] for name in used if name in row},
                ensure_ascii=False,
                allow_nan=False,
                default=str,
            )
        except (ValueError, RecursionError) as error:
            raise Bad("A number in the row is not finite.") from error
        line = text.encode() + b"\n"
        if len(line) > ROW_LIMIT:
            raise too_long()
        offset = self.bytes
        if offset + len(line) > self._limit:
            raise TooMuch(
                "Unpacked, its rows take more than {limit} MiB.", limit=self._limit // MIB
            )
        self._file.write(line)
        self._digest.update(line)
        self.bytes += len(line)
        self.rows += 1
        return self.rows, offset
