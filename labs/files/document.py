"""A JSON document with a list of rows somewhere in it, read value by value.

It may be the list itself, an object that holds one (`{"data": [...]}`), or one list for each
split (`{"train": [...], "validation": [...], "test": [...]}`), whose rows then state their split.
"""

from collections.abc import Iterator

from labs.contract import N_
from labs.files.rows import Bad, Bytes, Problem, Row
from labs.files.window import End, Window
from labs.formats import Mismatch, with_named_label
from labs.splits import SPLIT_COLUMN, SPLIT_NAMES

ROW_LISTS = ("data", "rows", "examples", "instances")
LABEL_NAMES = ("labels", "label_names")


def rows_of(file: Bytes, name: str) -> Iterator[Row | Problem]:
    """Each object of the document's lists; line numbers are those the objects begin on."""
    text = Window(file)
    try:
        yield from _Document(text, name).rows()
    except End as end:
        yield end.bad.at(name, end.line)


class _Document:
    def __init__(self, text: Window, name: str) -> None:
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
            message = N_("The file is one JSON object without a list of rows under: {names}.")
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
