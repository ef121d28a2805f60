"""Scoreboards as pages: the form loses nothing, the page is safe, others see none of it."""

import re

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.database import reading, transaction
from app.library.register import sync_bundled
from app.models import LanguageModel, Run, RunGroup
from tests.support.factories import make_device
from tests.support.factories_boards import make_scoreboard
from tests.support.site import Site

HOSTILE = "<img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture
def sam(site: Site) -> TestClient:
    with transaction() as session:
        sync_bundled(session)
        make_device(session)
    return site.client("sam")


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', page)
    found = found or re.search(rf'name="{re.escape(name)}"[^>]*? value="([^"]*)"', page)
    assert found, name
    return found[1]


def test_the_form_starts_what_it_shows(sam: TestClient) -> None:
    page = sam.get("/scoreboards/new?base_model=student&dataset=tickets").text
    with reading() as session:
        student = session.scalars(
            select(LanguageModel.id).where(LanguageModel.name == "student")
        ).one()
    assert f'<option value="{student}" selected>' in page
    sent = {
        "chosen": "1",
        "idempotency_key": field(page, "idempotency_key"),
        "methods": ["lora", "bitfit"],
        "base_model": str(student),
        "steps": "7",
        "learning_rates.lora": "0.02",
        "learning_rates.full": "not looked at: full is not chosen",
        "name": HOSTILE,
    }
    started = sam.post("/scoreboards", data=sent)
    assert started.status_code == 303
    assert sam.post("/scoreboards", data=sent).headers["location"] == started.headers["location"]
    with reading() as session:
        runs = {run.lab: run for run in session.scalars(select(Run))}
    assert set(runs) == {"lora", "bitfit"}
    assert {run.params["steps"] for run in runs.values()} == {7}
    assert runs["lora"].params["learning_rate"] == 0.02
    shown = sam.get(started.headers["location"]).text
    assert "<img src=x" not in shown
    assert "7*7" in shown
    assert sam.get("/scoreboards").headers["location"] == "/groups"
    assert started.headers["location"] in sam.get("/groups").text


def test_a_form_that_does_not_hold_comes_back_with_all_that_was_entered(sam: TestClient) -> None:
    sent = {
        "chosen": "1",
        "methods": ["lora", "ia3"],
        "steps": "many",
        "learning_rates.ia3": "9",
        "learning_rates.full": "0.123",
        "seed": "x\0y",
        "name": "Mine",
    }
    answer = sam.post("/scoreboards", data=sent)
    assert answer.status_code == 422
    assert field(answer.text, "name") == "Mine"
    assert field(answer.text, "learning_rates.full") == "0.123"
    assert "A seed is a whole number" in answer.text
    fixed_seed = sam.post("/scoreboards", data={**sent, "seed": "1"})
    assert fixed_seed.status_code == 422
    for name in ("steps", "learning_rates.ia3"):
        assert f'id="{name}-error"' in fixed_seed.text
    boxes = re.findall(r'id="method-(\w+)"[^>]*checked', fixed_seed.text)
    assert boxes == ["lora", "ia3"]
    with reading() as session:
        assert session.scalars(select(RunGroup)).all() == []


QUERIES = (
    "base_model=no-such", "dataset=%27%22", "steps=9e99", "methods=x&methods=y", "seed=-",
    "learning_rates.lora=nan", "batch_size=-1&max_length=999999", "wished=zz&chosen=1",
)  # fmt: skip


def test_whatever_the_address_says_the_form_opens(sam: TestClient) -> None:
    for query in QUERIES:
        assert sam.get(f"/scoreboards/new?{query}").status_code == 200, query
        block = sam.get(f"/scoreboards/new?{query}", headers={"HX-Request": "true"})
        assert block.status_code == 200, query
        assert "<html" not in block.text


def test_the_page_shows_rows_words_and_a_picture_without_inline_style(
    sam: TestClient, site: Site
) -> None:
    with transaction() as session:
        made = make_scoreboard(session, site.people["sam"], name=HOSTILE).id
    page = sam.get(f"/scoreboards/{made}?cost=memory&sort=share&reverse=1").text
    assert page.count("<circle") == 2 * 9
    assert "is dominated by" in page
    assert 'aria-sort="descending"' in page
    assert re.findall(r"<style|\sstyle=", page) == []
    assert "<img src=x" not in page
    table = sam.get(f"/scoreboards/{made}/table.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 10
    assert "hx-get" not in sam.get(f"/scoreboards/{made}", headers={"HX-Request": "true"}).text
    for name in ("tess", "tariq"):
        other = site.client(name)
        assert other.get(f"/scoreboards/{made}").status_code == 404
        assert other.get(f"/scoreboards/{made}/table.csv").status_code == 404
        assert other.post(f"/scoreboards/{made}/cancellation").status_code == 404


def test_a_scoreboard_stands_while_one_of_its_runs_is_left(site: Site) -> None:
    with transaction() as session:
        board = make_scoreboard(session, site.people["sam"]).id
    sam, script = site.client("sam"), site.script("sam")
    with reading() as session:
        members = session.scalars(select(Run.id).where(Run.group_id == board)).all()
    addresses = (f"/scoreboards/{board}", "/groups", f"/groups/{board}", "/runs", "/")
    for at, run_id in enumerate(members, start=1):
        assert sam.get(f"/scoreboards/{board}").status_code == 200
        assert script.post(f"/api/v1/runs/{run_id}/deletion").status_code == 200
        if at in (1, len(members)):
            assert max(sam.get(each).status_code for each in addresses) < 500
            assert script.get(f"/api/v1/runs/{run_id}").status_code == 404
    for path in (f"/scoreboards/{board}", f"/groups/{board}"):
        assert sam.get(path).status_code == 404
    assert script.get(f"/api/v1/scoreboards/{board}").status_code == 404
