"""Files of every kind, pasted rows and versions, from sending to the stored rows."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from pyarrow.parquet import write_table

from app import cli
from app.database import transaction
from app.datasets.apart import TooHard, check
from app.models import Dataset
from app.settings import get_settings
from labs.datasets import fingerprint, read_splits
from labs.intake import Order
from labs.profile import Profile
from tests.support.site import Site

ROWS = [{"text": f"row {n}", "label": f"l{n % 3}"} for n in range(12)]


def as_lines(rows: list[dict[str, Any]] = ROWS) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: list[dict[str, Any]] = ROWS) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]] = ROWS) -> bytes:
    out = io.BytesIO()
    write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def dataset_of(site: Site, filename: str, content: bytes, **form: str) -> Dataset:
    files = {"file": (filename, content)} if content else None
    made = site.client("sam").post("/datasets", files=files, data=form)
    assert made.status_code == 303, made.text
    with transaction() as session:
        return session.get_one(Dataset, UUID(made.headers["location"].rpartition("/")[2]))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("rows.jsonl", as_lines(), "jsonl"),
        ("rows.json", json.dumps(ROWS).encode(), "json"),
        ("rows.csv", as_csv(), "csv"),
        ("rows.parquet", as_parquet(), "parquet"),
        ("rows.txt", b"one\ntwo\nthree\nfour", "txt"),
    ],
)
def test_a_file_of_every_kind_is_kept_as_json_lines(
    site: Site, name: str, content: bytes, kind: str
) -> None:
    made = dataset_of(site, name, content)
    assert (made.name, made.file_name, made.file_format) == ("rows", name, kind)
    assert (fingerprint(Path(made.path)), Path(made.path).stat().st_size) == (
        made.sha256,
        made.bytes,
    )
    splits = read_splits(Path(made.path))
    assert {part: len(getattr(splits, part)) for part in made.verdict["splits"]} == (
        made.verdict["splits"]
    )
    assert Profile.read(made.verdict["profile"]).files["all"].rows == made.rows
    kept = [path for path in get_settings().datasets_dir.rglob("*") if path.is_file()]
    assert kept == [Path(made.path)]


def test_another_content_is_the_next_version_and_the_same_is_the_same(site: Site) -> None:
    first = dataset_of(site, "rows.csv", as_csv())
    again = dataset_of(site, "rows.csv", as_csv())
    second = dataset_of(site, "rows.jsonl", as_lines(ROWS[:9]))
    other = dataset_of(site, "others.jsonl", as_lines(ROWS[:8]))
    assert (again.id, [each.version for each in (first, second, other)]) == (first.id, [1, 2, 1])


@pytest.mark.parametrize("content", [as_lines(), as_csv(), json.dumps(ROWS).encode()])
def test_pasted_rows_are_a_dataset(site: Site, content: bytes) -> None:
    made = dataset_of(site, "", b"", rows=content.decode(), name="my try")
    assert (made.name, made.rows, made.file_format) == ("my-try", 12, "rows")


def test_what_is_wrong_with_pasted_rows_stands_at_their_field(site: Site) -> None:
    for rows, sentence in ((" \n", "Put a few rows here."), ("text,label\na\n", "Line 2: ")):
        answer = site.script("sam").post("/api/v1/datasets", data={"rows": rows, "name": "x"})
        errors = answer.json()["errors"]
        assert (answer.status_code, errors[0]["field"]) == (422, "rows")
        assert errors[0]["message"].startswith(sentence)


def test_a_row_of_a_parquet_file_is_called_a_row(site: Site) -> None:
    content = as_parquet([*ROWS, {"text": "no label", "label": None}])
    answer = site.script("sam").post("/api/v1/datasets", files={"file": ("a.parquet", content)})
    assert answer.json()["errors"][0]["message"].startswith("Row 13: ")


def test_a_file_that_unpacks_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    table = pa.table({"text": ["x" * (16 << 20)] * 16})
    write_table(table, path, compression="zstd", use_dictionary=False, data_page_size=1 << 30)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(TooHard, match="more than 500 MiB of memory"):
        check(Order(str(path), path.name, "", 1 << 30, memory_bytes=500 << 20))


def test_the_command_line_checks_adds_and_lists(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "rows.csv", tmp_path / "bad.csv"
    good.write_bytes(as_csv())
    bad.write_bytes(as_csv() + b"one cell\n")
    assert cli.main(["dataset", "check", str(good)]) == 0
    assert "Rows        12 (train 10, validation 1, test 1)" in capsys.readouterr().out
    assert cli.main(["dataset", "check", str(bad)]) == 2
    assert "Line 14: The row has 1 cells, the header 2." in capsys.readouterr().err
    assert cli.main(["dataset", "add", "sam", str(good)]) == 0
    assert cli.main(["dataset", "list"]) == 0
    assert "sam\trows\t1\ttext_label\t12\t" in capsys.readouterr().out
    assert cli.main(["dataset", "add", "nobody", str(good)]) == 2
    assert cli.main(["dataset", "add", "sam", str(tmp_path)]) == 2
