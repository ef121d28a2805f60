"""A JSON document with a list of rows somewhere in it, read value by value.

It may be the list itself, an object that holds one (`{"data": [...]}`), or one list for each
split (`{"train": [...], "validation": [...], "test": [...]}`), whose rows then state their split.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from labs.files.lines import not_utf8
from labs.files.rows import ROW_LIMIT, Bad, Bytes, Problem, Row, check_storable, too_long
from labs.files.strict_json import LENIENT, STRICT, not_json, unusable
from labs.formats import Mismatch, with_named_label
from labs.splits import SPLIT_COLUMN, SPLIT_NAMES

PIECE = 1 << 18
SPACE = re.compile(r"[ \t\r\n]*")
ROW_LISTS = ("data", "rows", "examples", "instances")
# What the end of the window can cut in two, beside a string: a number, a name, an escape.
NEAR = 32
LABEL_NAMES = ("labels", "label_names")


class _End(Exception):
    """Nothing sensible can be read from here on; `Bad` says why."""

    def __init__(self, bad: Bad, line: int) -> None:
        super().__init__(bad.message)
        self.bad = bad
        self.line = line


def rows_of(file: Bytes, name: str) -> Iterator[Row | Problem]:
    """Each object of the document's lists; line numbers are those the objects begin on."""
    text = _Text(file)
    try:
        yield from _Document(text, name).rows()
    except _End as end:
        yield end.bad.at(name, end.line)


class _Document:
    def __init__(self, text: "_Text", name: str) -> None:
        self._text = text
        self._name = name
        self._labels: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row | Problem]:
        opening = self._text.peek()
        if opening == "[":
            yield from self._list("")
        elif opening == "{":
            yield from self._lists()
        else:
            self._text.value()
            raise self._text.end(Bad("The file is JSON, but holds no list of rows."))
        if self._text.peek():
            raise self._text.end(Bad("Something stands behind the end of the JSON."))

    def _lists(self) -> Iterator[Row | Problem]:
        found = False
        for key in self._members():
            split = SPLIT_NAMES.get(key.lower(), "")
            if self._text.peek() == "[" and (split or key.lower() in ROW_LISTS):
                found = True
                yield from self._list(split)
                continue
            value = self._text.value()
            if key.lower() in LABEL_NAMES and isinstance(value, list):
                self._labels = tuple(map(str, value))
        if not found:
            message = "The file is one JSON object without a list of rows under: {names}."
            raise self._text.end(Bad(message, names=", ".join((*ROW_LISTS, "train"))))

    def _members(self) -> Iterator[str]:
        """The name of each member, with the text before its value."""
        self._text.take("{")
        if self._text.peek() == "}":
            self._text.take("}")
            return
        while True:
            key = self._text.value()
            if not isinstance(key, str):
                raise self._text.end(Bad("A name in an object is not text."))
            self._text.take(":")
            yield key
            if self._text.take(",}") == "}":
                return

    def _list(self, split: str) -> Iterator[Row | Problem]:
        self._text.take("[")
        if self._text.peek() == "]":
            self._text.take("]")
            return
        while True:
            yield self._row(split)
            if self._text.take(",]") == "]":
                return

    def _row(self, split: str) -> Row | Problem:
        self._text.peek()
        line = self._text.line
        try:
            value = self._text.value()
            if not isinstance(value, dict):
                raise Bad(
                    "A row is not an object with columns like {example}.", example='{"text": "…"}'
                )
            stated = {SPLIT_COLUMN: split} if split else {}
            return Row(self._name, line, with_named_label({**value, **stated}, self._labels))
        except (Bad, Mismatch) as bad:
            return Problem(self._name, line, bad.message, bad.values)


class _Text:
    """A window on the text: what is read leaves it, and it never grows past one row."""

    def __init__(self, file: Bytes) -> None:
        self.line = 1
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._kept = ""
        self._at = 0
        self._is_whole = False

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
            message = "Not valid JSON: {wanted} is expected here, not {found}."
            raise self.end(Bad(message, wanted=expected, found=found))
        self._move(self._at + 1)
        return found

    def value(self) -> Any:
        """The next value.

        Raises:
            Bad: If it is one, but cannot be used.
            _End: If there is none.
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
            # A number that touches the end of the window may go on behind it.
            if end == len(self._kept) and self._more():
                continue
            is_too_long = end - self._at > ROW_LIMIT
            escaped = "\\u" in self._kept[self._at : end]
            self._move(end)
            if is_too_long:
                raise too_long()
            if escaped:
                check_storable([value])
            return value

    def end(self, bad: Bad) -> _End:
        """Why the rest cannot be read."""
        return _End(bad, self.line)

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
        if not is_cut or not self._more():
            line = self.line + self._kept.count("\n", self._at, error.pos)
            raise _End(not_json(error, self._kept.rfind("\n", 0, error.pos) + 1), line)

    def _more(self) -> bool:
        """Read a piece; false at the end of the file."""
        if self._is_whole:
            return False
        # Doubled each time, so that a long row is not tried from its start for every piece.
        piece = self._file.read(max(PIECE, len(self._kept) - self._at))
        self._is_whole = not piece
        try:
            text = self._decoder.decode(piece, final=self._is_whole)
        except UnicodeDecodeError as error:
            raise self._not_utf8(error) from error
        self._kept = self._kept[self._at :] + text
        self._at = 0
        return not self._is_whole

    def _not_utf8(self, error: UnicodeDecodeError) -> _End:
        before = error.object[: error.start]
        line = self.line + self._kept.count("\n", self._at) + before.count(b"\n")
        begun = 0 if b"\n" in before else len(self._kept[self._kept.rfind("\n") + 1 :].encode())
        position = begun + error.start - (before.rfind(b"\n") + 1) + 1
        return _End(not_utf8(error.object[error.start], position), line)

    def _move(self, end: int) -> None:
        self.line += self._kept.count("\n", self._at, end)
        self._at = end
