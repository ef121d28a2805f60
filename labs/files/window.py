"""A window on the text of a JSON document: values leave it, and it never grows far past one row."""

import codecs
import json
import re
from typing import Any

from labs.contract import N_
from labs.files.lines import not_utf8
from labs.files.rows import ROW_LIMIT, Bad, Bytes, check_storable, too_long
from labs.files.strict_json import LENIENT, STRICT, not_json, unusable

PIECE = 1 << 18
SPACE = re.compile(r"[ \t\r\n]*")
# What the end of the window can cut in two, beside a string: a number, a name, an escape.
NEAR = 32


class End(Exception):
    """Nothing sensible can be read from here on; `Bad` says why."""

    def __init__(self, bad: Bad, line: int) -> None:
        super().__init__(bad.message)
        self.bad = bad
        self.line = line


class Window:
    """A window on the text: what is read leaves it, and it never grows past one row."""

    def __init__(self, file: Bytes) -> None:
        self.line = 1
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._kept = ""
        self._at = 0
        self._is_whole = False
        # The byte after the window's end, once it turned out to be none of UTF-8.
        self._bad_byte: int | None = None
        # What of the line that the window begins on has left it.
        self._gone_characters = self._gone_bytes = 0

    def peek(self) -> str:
        """The next character that is not space; empty at the end."""
        while True:
            after = SPACE.match(self._kept, self._at)
            self._move(after.end() if after else self._at)
            if self._at < len(self._kept) or not self._more():
                return self._kept[self._at : self._at + 1]

    def take(self, wanted: str) -> str:
        """The next character, which must be one of these."""
        found = self.peek()
        if not found or found not in wanted:
            expected = " or ".join(wanted)
            if not found:
                raise self.end(
                    Bad("The JSON ends too early: {wanted} is missing.", wanted=expected)
                )
            message = N_("Not valid JSON: {wanted} is expected here, not {found}.")
            raise self.end(Bad(message, wanted=expected, found=found))
        self._move(self._at + 1)
        return found

    def value(self) -> Any:
        """The next value.

        Raises:
            Bad: If it is one, but cannot be used.
            End: If there is none.
        """
        self.peek()
        while True:
            try:
                value, end = STRICT.raw_decode(self._kept, self._at)
            except Bad:
                self._pass_over()
                raise
            except json.JSONDecodeError as error:
                self._read_on(error)
                continue
            except (ValueError, RecursionError) as error:
                raise self.end(unusable()) from error
            # A number near the end of the window may go on behind it: “1.” of “1.5” is 1.
            is_number = isinstance(value, int | float)
            if is_number and end + NEAR > len(self._kept) and not self._is_whole:
                self._more()
                continue
            is_too_long = end - self._at > ROW_LIMIT
            escaped = "\\u" in self._kept[self._at : end]
            self._move(end)
            if is_too_long:
                raise too_long()
            if escaped:
                check_storable([value])
            return value

    def end(self, bad: Bad) -> End:
        """Why the rest cannot be read."""
        return End(bad, self.line)

    def _pass_over(self) -> None:
        """Behind a value that was refused; there may be more of it than was read."""
        while True:
            try:
                _value, end = LENIENT.raw_decode(self._kept, self._at)
            except json.JSONDecodeError as error:
                self._read_on(error)
                continue
            except (ValueError, RecursionError) as error:
                raise self.end(unusable()) from error
            self._move(end)
            return

    def _read_on(self, error: json.JSONDecodeError) -> None:
        """More text may make it right; where that cannot be, or there is too much, it is wrong."""
        is_cut = error.msg.startswith("Unterminated string") or error.pos + NEAR > len(self._kept)
        if is_cut and len(self._kept) - self._at > ROW_LIMIT:
            raise self.end(too_long())
        line = self.line + self._kept.count("\n", self._at, error.pos)
        before = self._kept[self._kept.rfind("\n", 0, error.pos) + 1 : error.pos]
        gone = 0 if "\n" in self._kept[: error.pos] else self._gone_characters
        if not is_cut or not self._more():
            raise End(not_json(error.msg, gone + len(before) + 1), line)

    def _more(self) -> bool:
        """Read a piece; false at the end of the file."""
        if self._bad_byte is not None:
            raise self._not_utf8(self._bad_byte)
        if self._is_whole:
            return False
        # Doubled each time, so that a long row is not tried from its start for every piece.
        piece = self._file.read(max(PIECE, len(self._kept) - self._at))
        self._is_whole = not piece
        try:
            text = self._decoder.decode(piece, final=self._is_whole)
        except UnicodeDecodeError as error:
            text = error.object[: error.start].decode()
            self._bad_byte = error.object[error.start]
        self._let_go()
        self._kept += text
        return bool(text) or not self._is_whole

    def _let_go(self) -> None:
        gone = self._kept[: self._at]
        if "\n" in gone:
            self._gone_characters = self._gone_bytes = 0
        last = gone[gone.rfind("\n") + 1 :]
        self._gone_characters += len(last)
        self._gone_bytes += len(last.encode())
        self._kept = self._kept[self._at :]
        self._at = 0

    def _not_utf8(self, byte: int) -> End:
        last = self._kept[self._kept.rfind("\n") + 1 :]
        position = len(last.encode()) + 1 + (0 if "\n" in self._kept else self._gone_bytes)
        line = self.line + self._kept.count("\n", self._at)
        return End(not_utf8(byte, position), line)

    def _move(self, end: int) -> None:
        self.line += self._kept.count("\n", self._at, end)
        self._at = end
