"""A dataset's page: its rows by number and split, as a model reads them, and how long they are."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from app.database import get_engine, transaction
from app.datasets.balance import label_balance
from app.datasets.rows import PAGE_ROWS, StoredRows
from app.datasets.tokens import SHOWN_BEGINNING, SHOWN_END, Reader, shown, token_lengths
from app.datasets.verdicts import stored_verdict
from app.errors import Unavailable
from app.library.register import sync_bundled
from app.models import Dataset, LanguageModel
from labs import bundled
from labs.datasets import inspect, read_splits
from labs.formats import Example, Message
from labs.profile import Profile
from tests.support.factories import make_dataset, make_run
from tests.support.site import Site


def dataset_of(path: Path) -> Dataset:
    """A dataset's row as the upload would write it."""
    verdict = inspect(path)
    assert verdict.ok, verdict.problems
    return Dataset(
        name=path.stem, path=str(path), sha256=verdict.sha256, rows=verdict.rows,
        bytes=verdict.bytes, format=verdict.format,
        verdict=json.loads(json.dumps(stored_verdict(verdict))),
    )  # fmt: skip


def written(folder: Path, count: int) -> Path:
    path = folder / f"rows-{count}.jsonl"
    rows = ({"prompt": f"asked {n}", "completion": f"said {n}"} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def all_rows(stored: StoredRows, split: str) -> list[str]:
    pages = stored.page(1, split).pages
    return [row.example.answer for n in range(1, pages + 1) for row in stored.page(n, split).rows]


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(count=st.integers(3, 700))
def test_pages_hold_every_row_once_in_order_and_each_split_its_own(
    tmp_path: Path, count: int
) -> None:
    path = written(tmp_path, count)
    dataset = dataset_of(path)
    stored = StoredRows(dataset)
    assert all_rows(stored, "") == [f"said {n}" for n in range(count)]
    splits = read_splits(path)
    for split in ("train", "validation", "test"):
        assert all_rows(stored, split) == [each.answer for each in getattr(splits, split)]
    assert stored.page(10**6).page == -(-count // PAGE_ROWS)
    before = stored.profile.files["all"].before
    assert len(before) == len(stored.profile.files["all"].marks)
    old = Dataset(path=dataset.path, name="old", rows=count, bytes=dataset.bytes, verdict={})
    assert all_rows(StoredRows(old), "") == [f"said {n}" for n in range(count)]


def test_a_folders_rows_come_split_by_split() -> None:
    folder = bundled.datasets()["topics"]
    stored = StoredRows(dataset_of(folder))
    splits = read_splits(folder)
    whole = [each.answer for each in (*splits.train, *splits.validation, *splits.test)]
    assert all_rows(stored, "") == whole
    assert all_rows(stored, "test") == [each.answer for each in splits.test]


def test_a_page_of_a_large_file_reads_little_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_of(written(tmp_path, 5000))
    stored = StoredRows(dataset)
    places = stored.profile.files["all"]
    counted = Mock(side_effect=json.loads)
    monkeypatch.setattr("app.datasets.rows.json.loads", counted)
    assert stored.page(240).rows[0].number == 239 * PAGE_ROWS + 1
    assert counted.call_count == PAGE_ROWS
    assert places.stride < 5000 / 100
    counted.reset_mock()
    last = stored.page(10**6, "test")
    assert [row.split for row in last.rows] == ["test"] * len(last.rows)
    assert counted.call_count < 500


def test_a_file_that_is_gone_is_told_and_the_page_stands(site: Site) -> None:
    with transaction() as session:
        dataset = make_dataset(session, owner_id=site.people["sam"].id)
    with pytest.raises(Unavailable):
        StoredRows(dataset).page(1)
    page = site.client("sam").get(f"/datasets/{dataset.id}")
    assert page.status_code == 200
    assert "cannot be read" in page.text


def base_model() -> LanguageModel:
    return LanguageModel(
        name="base", path=str(bundled.models()["base"]), facts={"max_positions": 512}
    )


@pytest.mark.parametrize("name", sorted(bundled.datasets()))
def test_what_is_shown_as_learned_has_as_many_tokens_as_are_learned(name: str) -> None:
    """The masked span on the page is the trainer's: its pieces tokenize to the counted tokens."""
    reader, stored = Reader(base_model()), StoredRows(dataset_of(bundled.datasets()[name]))
    tokenizer = reader._tokenizer
    assert tokenizer is not None
    for row in stored.page(1).rows:
        text, length = tokenizer.text(row.example), tokenizer.measure(row.example)
        assert len(tokenizer._ids(text.given)) == length.prompt
        assert len(tokenizer._ids(text.learned)) == length.answer
        rendered = reader.render(row.example)
        assert rendered.learned_tokens == length.answer
        assert row.example.answer[:SHOWN_BEGINNING] in rendered.learned.beginning


def test_a_model_that_cannot_read_rows_says_why() -> None:
    model = LanguageModel(name="gone", path="/nowhere/at/all", facts={})
    reader = Reader(model)
    rendered = reader.render(Example((Message("user", "a"),), "b", "c"))
    assert "gone" in reader.told
    assert (rendered.given.beginning, rendered.learned.beginning) == ("user: a", "b")
    assert rendered.given_tokens is None
    assert Reader(None).told


@given(text=st.text(max_size=40), times=st.integers(0, 80))
def test_a_long_text_is_shown_by_its_ends_and_nothing_is_lost_in_counting(
    text: str, times: int
) -> None:
    whole = text * times
    cut = shown(whole)
    assert len(cut.beginning) + cut.left_out + len(cut.end) == len(whole)
    assert whole.startswith(cut.beginning)
    assert whole.endswith(cut.end)
    assert len(cut.beginning) <= SHOWN_BEGINNING + SHOWN_END


@given(totals=st.lists(st.integers(0, 40_000), min_size=1, max_size=60).map(sorted))
def test_bins_hold_every_row_and_marks_count_the_longer_ones(totals: list[int]) -> None:
    found = token_lengths(totals, len(totals), 1024)
    assert sum(each.rows for each in found.bins) == len(totals)
    assert len(found.bins) <= 17
    for each in found.bins:
        longest = each.high or totals[-1] + 1
        assert each.rows == sum(each.low <= total < longest for total in totals)
    for mark in found.marks:
        longer = sum(total > mark.tokens for total in totals)
        assert (mark.longer == 0) == (longer == 0)
        assert (mark.longer == 100) == (longer == len(totals))
    assert totals[0] <= found.median <= found.p95 <= found.longest


def test_labels_are_balanced_in_all_and_by_split() -> None:
    profile = Profile(labels={f"l{n}": {"train": n, "test": 1} for n in range(30)})
    found = label_balance(profile)
    assert found is not None
    assert (found.splits, found.labels[0].label, found.labels[0].by_split) == (
        ["train", "test"], "l29", [29, 1],
    )  # fmt: skip
    assert sum(each.rows for each in found.labels) + found.other_rows == found.total
    assert (found.others, found.is_uneven) == (10, True)
    assert label_balance(Profile(labels={"only": {"train": 3}})) is None
    assert label_balance(Profile()) is None


def test_the_page_of_a_dataset_says_it_all_with_few_queries(site: Site) -> None:
    with transaction() as session:
        sync_bundled(session)
        topics = session.scalars(select(Dataset).where(Dataset.name == "topics")).one()
        for _ in range(5):
            make_run(session, site.people["sam"], dataset_id=topics.id)
    client = site.client("sam")
    statements: list[str] = []
    listen = ("before_cursor_execute", lambda *args: statements.append(args[2]))
    event.listen(get_engine(), *listen)
    try:
        page = client.get(f"/datasets/{topics.id}").text
    finally:
        event.remove(get_engine(), *listen)
    assert len(statements) < 20, statements
    for said in (
        "Balance of the labels",
        "connectivity",
        "Learned:",
        "Given:",
        "95 % have at most",
    ):
        assert said in page
    rows = client.get(f"/datasets/{topics.id}?page=2&split=test", headers={"HX-Request": "true"})
    assert rows.text.lstrip().startswith("<section")
    assert f"Row {PAGE_ROWS + 1}" in rows.text
    for wrong in ("page=0", "page=x", "split=none", "model=x"):
        assert client.get(f"/datasets/{topics.id}?{wrong}").status_code == 422
    nobody = "00000000-0000-7000-8000-000000000000"
    assert client.get(f"/datasets/{topics.id}?model={nobody}").status_code == 404
    train = client.get(f"/datasets/{topics.id}/file?split=test")
    assert train.text == (bundled.datasets()["topics"] / "test.jsonl").read_text()
    assert "attachment" in train.headers["content-disposition"]
