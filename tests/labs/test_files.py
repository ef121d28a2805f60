"""Files of every kind: the same rows whatever they are written as, and no file can break a check."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labs.datasets import Verdict, inspect
from labs.files import document, prose, table
from labs.files.kinds import kind_of, read_file
from labs.files.rows import ROW_LIMIT, Problem, Row
from labs.formats import Example, recognise
from labs.intake import Order, heard, take, told
from labs.jsonl import rows_of as lines_of
from labs.splits import SPLIT_COLUMN

Rows = list[dict[str, Any]]
# What every kind of file can say: no NUL, no half pair, and no text of space alone.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
).filter(lambda text: bool(text.strip()))
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT})
SHAPES: tuple[st.SearchStrategy[dict[str, Any]], ...] = (
    st.fixed_dictionaries({"text": TEXT}),
    st.fixed_dictionaries({"text": TEXT, "label": TEXT}),
    st.fixed_dictionaries({"sentence1": TEXT, "sentence2": TEXT, "label": TEXT}),
    st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT}),
    st.fixed_dictionaries({"instruction": TEXT, "input": TEXT, "output": TEXT}),
    st.fixed_dictionaries({"instruction": TEXT, "response": TEXT}),
    st.fixed_dictionaries({"messages": st.lists(TURN, min_size=1, max_size=3)}),
)
ROWS = st.one_of([st.lists(shape, min_size=1, max_size=6) for shape in SHAPES])


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps({"version": 1, "data": rows}, indent=1, ensure_ascii=False).encode()


def as_list(rows: Rows) -> bytes:
    return b"\xef\xbb\xbf" + json.dumps(rows).encode()


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    cells = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in r.items()} for r in rows]
    writer.writerows(cells)
    return out.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    out = io.BytesIO()
    write_table(pa.Table.from_pylist(rows), out, row_group_size=2)
    return out.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "a.jsonl": as_jsonl,
    "b.json": as_json,
    "c.json": as_list,
    "d.csv": as_csv,
    "e.tsv": lambda rows: as_csv(rows, "\t"),
    "f.csv": lambda rows: as_csv(rows, ";"),
    "g.parquet": as_parquet,
}


def found(path: Path) -> list[tuple[str, Example] | str]:
    """What a file says: its examples, or why a row has none, in order."""
    rows: list[tuple[str, Example] | str] = []
    for row in read_file(path)[1]:
        form = recognise(row.value) if isinstance(row, Row) else None
        try:
            assert isinstance(row, Row)
            assert form is not None
            rows.append((form.name, form.read(row.value, ())))
        except Exception as error:  # the law is about equality, also of refusals
            rows.append(str(row if isinstance(row, Problem) else error))
    return rows


@settings(max_examples=40, deadline=None)
@given(ROWS)
@example([{"text": '"', "label": ",\r\n;"}, {"text": "\u2028", "label": "\x85"}])
def test_the_same_rows_say_the_same_whatever_they_are_written_as(rows: Rows) -> None:
    with TemporaryDirectory() as folder:
        read = {}
        for name, write in WRITERS.items():
            path = Path(folder) / name
            path.write_bytes(write(rows))
            read[name] = found(path)
        assert len(read["a.jsonl"]) == len(rows)
        assert {name: each for name, each in read.items() if each != read["a.jsonl"]} == {}


@settings(max_examples=25, deadline=None)
@given(ROWS, st.sampled_from(sorted(WRITERS)))
def test_what_is_kept_says_what_was_sent(rows: Rows, name: str) -> None:
    with TemporaryDirectory() as folder:
        path, kept = Path(folder) / name, Path(folder) / "kept.jsonl"
        path.write_bytes(WRITERS[name](rows))
        verdict = take(Order(str(path), name, str(kept), 1 << 30))
        assert heard(told(verdict)) == verdict
        if verdict.ok and verdict.file_format != "jsonl":
            again = inspect(kept)
            assert found(kept) == found(path)
            assert (again.sha256, again.rows, again.profile) == (
                verdict.sha256,
                verdict.rows,
                verdict.profile,
            )


class Dripping(io.BytesIO):
    """A file that gives as many bytes as it likes, at least one."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._sizes.pop() if self._sizes else 1
        return super().read(min(wanted, size) if size and size > 0 else wanted)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        ROWS.map(as_json),
        ROWS.map(lambda rows: as_json(rows)[:-7]),
        st.sampled_from(
            [b'[{"text": "\xff"}]', b"[1, 2.5, 1e5]", b'[{"a": 12345}, tru', b"[" * 99]
        ),
    ),
    st.lists(st.integers(1, 9), max_size=40),
)
@example(b'[{"text": "ok"},\n\n  {"text": "1\xff"}]', [])
@example(b"[0.5, 1e-7", [])
@example(b'[{"text": "ok"}, "\xc3\xa4", 12\xff]', [])
def test_a_document_reads_the_same_in_whatever_pieces_it_comes(
    content: bytes, sizes: list[int]
) -> None:
    whole = list(document.rows_of(io.BytesIO(content), "a.json"))
    assert list(document.rows_of(Dripping(content, sizes), "a.json")) == whole


NAMES = ("a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet", "a")
STARTS = (b"", b"[", b"{", b'{"data": [', b"text,label\n", b"PAR1", b'{"train":[{"text":"a"}],')


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=80), st.sampled_from(NAMES))
def test_no_bytes_can_break_a_check(start: bytes, content: bytes, name: str) -> None:
    assert verdict_on(start + content, name).rows >= 0


@settings(max_examples=60, deadline=None)
@given(ROWS, st.data())
def test_no_damage_to_a_file_can_break_a_check(rows: Rows, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(WRITERS)))
    content = bytearray(WRITERS[name](rows))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    verdict_on(bytes(content), name)


def verdict_on(content: bytes, name: str) -> Verdict:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        verdict = take(Order(str(path), name, str(Path(folder) / "kept.jsonl"), 1 << 20))
        assert verdict.ok == (verdict.problem_count == 0)
        json.dumps([str(problem) for problem in verdict.problems]).encode()
        told(verdict).encode()
        return verdict


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b'{"text": "a"}\n', "rows.txt", "jsonl"),
        (b'\n\n{"text": "a"}\n', "rows", "jsonl"),
        (b'[\n{"text": "a"}]', "rows.csv", "json"),
        (b'{"data": [{"text": "a"}]}', "rows.jsonl", "json"),
        (b'{\n "train": []}', "rows", "json"),
        (b'{"messages": [{"role": "user"}]}', "rows.json", "jsonl"),
        (b"text,label\na,b\n", "rows.txt", "csv"),
        (b"Text;Label\r\na;b\r\n", "rows", "csv"),
        (b"text\nonce\n", "rows.csv", "csv"),
        (b"text\nonce\n", "rows.txt", "txt"),
        (b"[Chapter 1]\nOnce", "book.txt", "txt"),
        (b"once upon a time", "book", "txt"),
        (b"PAR1....", "rows.csv", "parquet"),
    ],
)
def test_the_content_says_what_a_file_is(
    tmp_path: Path, content: bytes, name: str, kind: str
) -> None:
    path = tmp_path / "sent"
    path.write_bytes(content)
    assert kind_of(path, name).name == kind


def reasons(content: bytes, name: str) -> list[tuple[int, str]]:
    return [(each.line, str(each)) for each in verdict_on(content, name).problems]


@pytest.mark.parametrize(
    ("content", "name", "line", "words"),
    [
        (b'[{"text": "a"},\n{"text": "b", "text": "c"}]', "a.json", 2, "“text” stands twice"),
        (b'[{"text": "a"},\n{"text": NaN}]', "a.json", 2, "NaN is not JSON"),
        (b'[{"text": "a"},\n\n{"text": 1e}]', "a.json", 3, "Expecting ',' delimiter"),
        (b'[{"text": "a"}, 7]', "a.json", 1, "not an object"),
        (b'[{"text": "a"}', "a.json", 1, "ends too early: , or ] is missing"),
        (b'[{"text": "a"}] x', "a.json", 1, "behind the end"),
        (b'{"rows": {"a": 1}}', "a.json", 1, "The columns fit no known format"),
        (b'[\n{"text": "\xff"}]', "a.json", 2, "Byte 11 of the line is not UTF-8 (0xff)"),
        (b"[" + b"[" * 100_000, "a.json", 1, "nested too deep"),
        (b'[{"text": "\\u0000"}]', "a.json", 1, "NUL"),
        (b'{"labels": ["a"], "data": [{"text": "x", "label": 1}]}', "a.json", 1, "no name"),
        (b'{"text": "a", "label": -1}\n', "a.jsonl", 1, "stands for no class"),
        (b'{"text": "a", "a": Infinity}\n', "a.jsonl", 1, "Infinity is not JSON"),
        (b'{"text": "a", "text": "b"}\n', "a.jsonl", 1, "stands twice"),
        (b"text,label\na,b\nc\n", "a.csv", 3, "The row has 1 cells, the header 2."),
        (b'text,label\na,b\n"c,d\n', "a.csv", 3, "never closed"),
        (b'text,label\n"a"b,c\n', "a.csv", 2, "Not valid CSV"),
        (b"text,label\na,b\n\xe9,d\ne,\n", "a.csv", 3, "Byte 1 of the line is not UTF-8 (0xe9)"),
        (b"text,label\na,\n", "a.csv", 2, "The answer is empty"),
        (b"text,text,label\na,b,c\n", "a.csv", 1, "“text” stands twice in the header"),
        (b"name,age\na,b\n", "a.csv", 2, "fit no known format: age, name"),
        (b"once upon a time\n\x00\n", "a.txt", 2, "NUL"),
        (b"t\x00e\x00x\x00t\x00\n\x00", "a.csv", 0, "neither text nor Parquet"),
        (b"\xff\xfet\x00", "a.csv", 0, "UTF-16"),
        (b"\x1f\x8b\x08", "a.csv", 0, "packed (gzip)"),
        (b"PAR1 and then nothing", "a.parquet", 0, "Not a readable Parquet file"),
        (b"no magic", "a.parquet", 0, "Not a readable Parquet file"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    content: bytes, name: str, line: int, words: str
) -> None:
    first = reasons(content, name)[0]
    assert first[0] == line
    assert words in first[1]


def test_a_bad_row_of_a_document_does_not_hide_the_rows_below() -> None:
    content = b'[{"text": "a"}, {"text": NaN}, {"text": 5}, {"text": "b"}]'
    verdict = verdict_on(content, "a.json")
    assert (verdict.rows, len(verdict.problems)) == (2, 3)  # the third is: too few prompts


def test_rows_that_name_their_split_go_there() -> None:
    lists = {name: [{"text": f"{name}{i}"} for i in range(i)] for name, i in SIZES.items()}
    verdict = verdict_on(json.dumps(lists).encode(), "a.json")
    assert verdict.splits == {"train": 5, "validation": 2, "test": 3}
    assert verdict.profile.cuts is None


SIZES = {"train": 5, "valid": 2, "test": 3}


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        (["train", "train", "test"], "No row is in the split “validation”."),
        (["train", "dev", "rest"], "The split “rest” is none of: train, validation, test."),
    ],
)
def test_a_split_without_rows_or_name_is_refused(stated: list[str], sentence: str) -> None:
    rows = [{"text": f"t{n}", SPLIT_COLUMN: split} for n, split in enumerate(stated)]
    assert sentence in [text for _, text in reasons(as_jsonl(rows), "a.jsonl")]


def test_one_split_for_all_rows_is_no_split() -> None:
    rows = [{"text": f"t{n}", SPLIT_COLUMN: "train"} for n in range(10)]
    verdict = verdict_on(as_csv(rows), "a.csv")
    assert verdict.splits == {"train": 8, "validation": 1, "test": 1}
    assert "dealt 80 : 10 : 10" in str(verdict.warnings[0])


def test_numbered_labels_of_a_parquet_file_take_the_names_beside_them(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    features = {"info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}}}
    rows = [{"text": f"t{n}", "label": n % 2} for n in range(4)]
    metadata = {b"huggingface": json.dumps(features).encode()}
    named = pa.Table.from_pylist(rows).replace_schema_metadata(metadata)
    write_table(named, tmp_path / "a.parquet")
    assert [e.answer for e in inspect(tmp_path / "a.parquet").preview] == ["bad", "good"] * 2


@pytest.mark.parametrize(
    ("content", "rows", "read_as"),
    [
        (b"one\ntwo\n\nthree\r\n \t\nfour\n", ["one\ntwo", "three", "four"], "paragraphs"),
        (b"one\ntwo\nthree", ["one", "two", "three"], "lines"),
    ],
)
def test_plain_text_is_read_by_paragraphs_where_it_has_some(
    content: bytes, rows: list[str], read_as: str
) -> None:
    verdict = verdict_on(content, "book.txt")
    assert [example.answer for example in verdict.preview] == rows
    assert verdict.profile.read_as == read_as


def test_more_rows_than_may_be_kept_are_not_written(tmp_path: Path) -> None:
    path, kept = tmp_path / "a.json", tmp_path / "kept.jsonl"
    path.write_bytes(as_json([{"text": f"t{n}"} for n in range(100)]))
    verdict = take(Order(str(path), path.name, str(kept), 500))
    assert "take more than" in str(verdict.problems[0])
    assert kept.stat().st_size <= 500


@pytest.mark.parametrize(
    "read",
    [
        lambda file: lines_of(file, "a"),
        lambda file: document.rows_of(file, "a"),
        lambda file: table.rows_of(file, "a", ","),
        lambda file: prose.rows_of(file, "a", by_paragraph=True),
        lambda file: prose.rows_of(file, "a", by_paragraph=False),
    ],
)
def test_a_row_beyond_the_limit_is_told_and_never_held(read: Any) -> None:
    """Endless text of one kind, given out by a file that counts what is held of it."""
    import tracemalloc

    file = Endless(b'[{"text": "', 32 * ROW_LIMIT)
    tracemalloc.start()
    problems = [row for row in read(file) if isinstance(row, Problem)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problems
    assert peak < 8 * ROW_LIMIT


class Endless:
    """A file of one line, made while it is read."""

    def __init__(self, start: bytes, size: int) -> None:
        self._start, self._left = start, size

    def read(self, size: int, /) -> bytes:
        if self._start:
            start, self._start = self._start, b""
            return start
        size = min(size, self._left)
        self._left -= size
        return b"x" * size

    readline = read


@pytest.mark.parametrize("name", ["b.json", "d.csv"])
def test_a_check_keeps_a_few_bytes_of_each_row(tmp_path: Path, name: str) -> None:
    import tracemalloc

    peaks = []
    for count in (2_000, 5_000):
        path = tmp_path / f"{count}-{name}"
        path.write_bytes(WRITERS[name]([{"text": f"{n} {'x' * 200}"} for n in range(count)]))
        tracemalloc.start()
        inspect(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 3_000 < 64
