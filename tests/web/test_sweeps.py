"""Sweeps as pages: a form that loses nothing, a budget before the start, one page for all runs."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.database import reading, transaction
from app.models import Dataset, Run, RunGroup, RunState
from app.settings import get_settings
from tests.support.factories import make_device
from tests.support.factories_boards import make_scoreboard
from tests.support.factories_groups import make_library, make_sweep
from tests.support.site import Site, two_classes

FORM = "/labs/lora/sweeps/new"
SENT = {
    "complete": "1",
    "idempotency_key": "form",
    "vary.0.parameter": "rank",
    "vary.0.how": "list",
    "vary.0.values": "2, 4",
    "vary.1.parameter": "learning_rate",
    "vary.1.how": "log",
    "vary.1.from": "0.001",
    "vary.1.to": "0.1",
    "vary.1.count": "3",
    "steps": "20",
    "seed": "7",
    "name": "my ranks",
    "stages": ["setup", "train"],
}


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Site:
    site = two_classes()
    with transaction() as session:
        make_library(session, tmp_path)
        make_device(session, ready=False, slots=0)
    return site


@pytest.fixture
def sam(site: Site) -> TestClient:
    return site.client("sam")


def counted(table: type[Run] | type[RunGroup]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def filled(page: str, sent: dict[str, Any]) -> dict[str, Any]:
    """All fields of the form as a browser sends them, with these values put in."""
    inputs = re.findall(r'<input(?![^>]*checkbox)[^>]*? name="([^"]+)"[^>]*? value="([^"]*)"', page)
    selects = re.findall(r'<select[^>]*? name="([^"]+)"(.*?)</select>', page, re.DOTALL)
    chosen = {
        name: re.findall(r'value="([^"]*)"[^>]*? selected', options) for name, options in selects
    }
    return {**dict(inputs), **{name: found[0] for name, found in chosen.items() if found}, **sent}


def test_the_form_offers_values_worth_a_try(sam: TestClient) -> None:
    page = sam.get(FORM).text
    assert 'data-suggest="0.0005, 0.0015' in page or "data-suggest=" in page
    assert page.count("data-axis") >= 2
    assert "What stays the same" in page


def test_a_form_of_one_run_is_taken_over_as_it_is(sam: TestClient) -> None:
    page = sam.get(
        FORM,
        params={
            "complete": "1",
            "rank": "33",
            "steps": "44",
            "name": "try",
            "idempotency_key": "k",
        },
    ).text
    assert re.search(r'name="rank"[^>]*value="33"', page)
    assert re.search(r'name="steps"[^>]*value="44"', page)
    assert 'value="k"' not in page


def test_a_sent_form_starts_every_combination(sam: TestClient, site: Site) -> None:
    answer = sam.post("/labs/lora/sweeps", data=filled(sam.get(FORM).text, SENT))
    assert answer.status_code == 303, answer.text
    assert (
        sam.post("/labs/lora/sweeps", data=filled(sam.get(FORM).text, SENT)).headers["location"]
        == (answer.headers["location"])
    )
    with reading() as session:
        runs = session.scalars(select(Run).order_by(Run.group_place)).all()
        assert [run.name for run in runs[:3]] == [
            f"lora: rank 2, learning_rate {rate}" for rate in ("0.001", "0.01", "0.1")
        ]
        assert {(run.seed, run.params["steps"], tuple(run.stages)) for run in runs} == {
            (7, 20, ("setup", "train"))
        }
        assert len(runs) == 6
    page = sam.get(answer.headers["location"]).text
    assert "my ranks" in page
    assert "0 of 6 runs are over" in page


def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(sam: TestClient) -> None:
    sent = {**SENT, "vary.0.values": "2, 999", "vary.1.count": "many", "steps": "-1"}
    answer = sam.post("/labs/lora/sweeps", data=filled(sam.get(FORM).text, sent))
    assert answer.status_code == 422
    assert "“many” is not a whole number." in answer.text
    fixed = sam.post(
        "/labs/lora/sweeps", data=filled(sam.get(FORM).text, {**sent, "vary.1.count": "3"})
    )
    assert "Rank r: 999 does not fit: allowed is 1 to 256." in fixed.text
    assert 'value="2, 999"' in fixed.text
    assert 'value="my ranks"' in fixed.text
    both = {**sent, "vary.1.count": "3", "vary.0.values": "2, 4"}
    base = sam.post("/labs/lora/sweeps", data=filled(sam.get(FORM).text, both))
    assert 'id="steps-error"' in base.text
    assert (counted(Run), counted(RunGroup)) == (0, 0)


def test_a_model_that_refuses_one_value_says_which(sam: TestClient) -> None:
    sent = {**SENT, "vary.0.values": "2, 256", "vary.1.parameter": ""}
    answer = sam.post("/labs/lora/sweeps", data=filled(sam.get(FORM).text, sent))
    assert answer.status_code == 422
    assert 'id="vary.0.values-error"' in answer.text
    assert "lora: rank 256: Rank 256 does not fit" in answer.text


def test_the_preview_tells_the_runs_and_what_they_need(sam: TestClient) -> None:
    told = sam.post("/labs/lora/sweeps/preview", data=filled(sam.get(FORM).text, SENT)).text
    assert "6 runs" in told
    assert 'value="my ranks"' in told, "without JavaScript the form comes again"
    assert "lora: rank 4, learning_rate 0.01" in told
    assert "of device time in all, estimated" in told
    assert "There is room for 20 more runs in the queue." in told
    assert counted(Run) == 0


def test_the_preview_says_what_does_not_fit(
    sam: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "5")
    get_settings.cache_clear()
    page = filled(sam.get(FORM).text, SENT)
    assert "There is room for 5 more runs in the queue: choose fewer" in (
        sam.post("/labs/lora/sweeps/preview", data=page).text
    )
    refused = sam.post("/labs/lora/sweeps", data=page)
    assert refused.status_code == 429
    assert "These are 6 runs, and there is room for 5" in refused.text
    assert 'value="my ranks"' in refused.text
    wrong = {**SENT, "vary.0.values": "0"}
    told = sam.post("/labs/lora/sweeps/preview", data=filled(sam.get(FORM).text, wrong)).text
    assert "allowed is 1 to 256" in told


@pytest.fixture
def sweep(site: Site) -> UUID:
    with transaction() as session:
        vary = {"rank": [2, 4, 8]}
        return make_sweep(session, site.people["sam"], vary, {1: RunState.FAILED}).id


def test_one_page_shows_all_runs_and_the_best_with_why(sam: TestClient, sweep: UUID) -> None:
    page = sam.get(f"/sweeps/{sweep}").text
    assert "3 of 3 runs are over" in page
    assert "Highest “Exact answers” at its best step" in page
    assert "The loss became not-a-number or infinite." in page
    assert "along__point--best" in page
    assert "/compare?runs=" in page
    best = re.search(r"/labs/lora/sweeps/new\?from=([0-9a-f-]+)", page)
    assert best is not None
    assert sam.get(f"/labs/lora/sweeps/new?from={best[1]}").status_code == 200
    by_loss = sam.get(f"/sweeps/{sweep}?metric=eval/loss").text
    assert "Lowest “Validation loss” at its best step" in by_loss


def test_each_part_of_the_page_can_be_had_alone(site: Site, sweep: UUID) -> None:
    """As htmx asks for them while the runs go on."""
    htmx = site.client("sam", **{"HX-Request": "true"})
    for part, first in (("status", '<div id="sweep"'), ("curves", '<section id="curves"')):
        block = htmx.get(f"/sweeps/{sweep}?part={part}")
        assert block.status_code == 200
        assert block.text.lstrip().startswith(first)


@pytest.mark.parametrize(("sort", "first"), [("0", "2"), ("-0", "8"), ("-final", "8"), ("x", "2")])
def test_the_table_is_sorted_by_the_address(
    sam: TestClient, sweep: UUID, sort: str, first: str
) -> None:
    page = sam.get(f"/sweeps/{sweep}?sort={sort}").text
    assert re.findall(r'<th scope="row" class="mono">([^<]+)</th>', page)[0] == first


def test_two_parameters_make_a_map(sam: TestClient, site: Site) -> None:
    with transaction() as session:
        vary: dict[str, list[Any]] = {"variant": ["lora", "dora"], "rank": [2, 4, 8]}
        group = make_sweep(session, site.people["sam"], vary)
    page = sam.get(f"/sweeps/{group.id}").text
    assert page.count("heat__cell--") == 6
    assert page.count("heat__cell--10") == 1
    assert '<th scope="colgroup" colspan="3">Rank r</th>' in page


def test_a_sweep_is_found_again(sam: TestClient, site: Site, sweep: UUID) -> None:
    assert f"/sweeps/{sweep}" in sam.get("/runs").text
    assert f"/sweeps/{sweep}" in sam.get("/groups").text
    assert sam.get(f"/groups/{sweep}").headers["location"] == f"/sweeps/{sweep}"
    with reading() as session:
        run = session.scalars(select(Run).where(Run.group_id == sweep)).first()
    assert run is not None
    assert f"/groups/{sweep}" in sam.get(f"/runs/{run.id}").text


def test_a_sweep_is_its_owners_and_their_instructors(site: Site, sweep: UUID) -> None:
    for name, status in (("maria", 200), ("ada", 200), ("tess", 404), ("tariq", 404)):
        assert site.client(name).get(f"/sweeps/{sweep}").status_code == status
        assert site.client(name).get(f"/groups/{sweep}").status_code == (
            303 if status == 200 else 404
        )


def test_a_dataset_that_is_none_of_the_readers_business_is_named_without_a_link(
    site: Site, sweep: UUID
) -> None:
    with transaction() as session:
        of_sweep = select(Run.dataset_id).where(Run.group_id == sweep)
        board = make_scoreboard(session, site.people["sam"], ["lora", "bitfit"]).id
        of_board = select(Run.dataset_id).where(Run.group_id == board)
        for dataset in session.scalars(
            select(Dataset).where(Dataset.id.in_(of_sweep) | Dataset.id.in_(of_board))
        ):
            dataset.owner_id, dataset.title = site.people["sam"].id, "private rows"
    for address in (f"/sweeps/{sweep}", f"/scoreboards/{board}"):
        own, taught = (site.client(name).get(address).text for name in ("sam", "maria"))
        assert "private rows" in own
        assert 'href="/datasets/' in own
        assert "private rows" in taught
        assert re.search(r"</svg> sam</span>", taught)
        assert 'href="/datasets/' not in taught


def test_a_sweep_is_cancelled_as_a_whole(sam: TestClient, site: Site) -> None:
    with transaction() as session:
        states = {0: RunState.QUEUED, 1: RunState.QUEUED}
        group = make_sweep(session, site.people["sam"], {"rank": [2, 4, 8]}, states)
    asked = sam.get(f"/sweeps/{group.id}/cancellation/new").text
    assert "2 runs that are not over are cancelled" in asked
    assert site.client("tess").post(f"/sweeps/{group.id}/cancellation").status_code == 404
    for _ in range(2):
        assert sam.post(f"/sweeps/{group.id}/cancellation").status_code == 303
    with reading() as session:
        states_now = session.scalars(select(Run.state).where(Run.group_id == group.id)).all()
    assert sorted(states_now) == ["cancelled", "cancelled", "succeeded"]
    assert "Cancel all" not in sam.get(f"/sweeps/{group.id}").text


@pytest.mark.parametrize("where", ["runs", "sweeps"])
def test_a_nul_in_a_form_is_refused_like_anything_wrong(sam: TestClient, where: str) -> None:
    sent = {"vary.0.parameter": "rank", "vary.0.values": "2, 4"}
    for field in ("dataset", "base_model", "target_modules", "name", "idempotency_key"):
        answer = sam.post(f"/labs/lora/{where}", data={**sent, field: "a\0b"})
        assert answer.status_code == 422, field
    assert counted(Run) == 0
