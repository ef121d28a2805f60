"""Lines of bytes and of text, however long a file makes them."""

from collections.abc import Iterator

from labs.files.rows import ROW_LIMIT, Bad, Bytes, too_long

UTF8_MARK = b"\xef\xbb\xbf"


def bounded_lines(file: Bytes) -> Iterator[tuple[int, bytes | None]]:
    """Each line with the byte it begins at; None for one over the limit, which is read past."""
    offset = 0
    while line := file.readline(ROW_LIMIT + 1):
        start = offset
        offset += len(line)
        if len(line) <= ROW_LIMIT:
            yield start, line
            continue
        yield start, None
        while line and not line.endswith(b"\n"):
            line = file.readline(ROW_LIMIT)
            offset += len(line)


def text_of(line: bytes | None, number: int) -> str:
    """A line as text; the first one without a UTF-8 mark.

    Raises:
        Bad: If it is too long or not UTF-8.
    """
    if line is None:
        raise too_long()
    if number == 1:
        line = line.removeprefix(UTF8_MARK)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(line[error.start], error.start + 1) from error


def not_utf8(byte: int, position: int) -> Bad:
    """A byte that has no place in UTF-8."""
    return Bad(
        "Byte {position} of the line is not UTF-8 (0x{byte}). Save the file as UTF-8.",
        position=position,
        byte=f"{byte:02x}",
    )
