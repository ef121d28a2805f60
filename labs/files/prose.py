"""Plain text as rows of running text: one for each paragraph, or for each line."""

import re
from collections.abc import Iterator

from labs.files.lines import bounded_lines, text_of
from labs.files.rows import ROW_LIMIT, Bad, Bytes, Problem, Row, too_long

# A blank line between two that are not.
PARAGRAPHS = re.compile(rb"\S[^\n]*\n[ \t\r]*\n\s*\S")


def has_paragraphs(head: bytes) -> bool:
    """Whether the beginning of a file has blank lines between its texts."""
    return PARAGRAPHS.search(head) is not None


def rows_of(file: Bytes, name: str, by_paragraph: bool) -> Iterator[Row | Problem]:
    """Each paragraph or line that is not blank, as a row with the one column “text”."""
    paragraph = _Paragraph(name)
    for number, (_offset, line) in enumerate(bounded_lines(file), start=1):
        try:
            text = _storable(text_of(line, number))
        except Bad as bad:
            yield bad.at(name, number)
            continue
        if not by_paragraph or not text.strip():
            yield from paragraph.end()
        if text.strip():
            paragraph.add(text, number)
    yield from paragraph.end()


def _storable(text: str) -> str:
    if "\0" in text:
        raise Bad("The line holds a NUL character or half a surrogate pair.")
    return text.rstrip("\r\n")


class _Paragraph:
    """The lines of a row so far; of one that is too long, only that it is."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: list[str] = []
        self._first = 0
        self._characters = 0

    def add(self, text: str, number: int) -> None:
        self._first = self._first or number
        self._characters += len(text) + 1
        if self._characters > ROW_LIMIT:
            self._lines.clear()
        else:
            self._lines.append(text)

    def end(self) -> Iterator[Row | Problem]:
        if self._characters > ROW_LIMIT:
            yield too_long().at(self._file, self._first)
        elif self._lines:
            yield Row(self._file, self._first, {"text": "\n".join(self._lines)})
        self._lines, self._first, self._characters = [], 0, 0
