"""Sweeps for scripts: what a body may ask, what is refused where, what comes back."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.database import reading, transaction
from app.models import Run, RunState
from tests.support.factories_groups import make_library, make_sweep
from tests.support.site import Site

RANKS = {"parameter": "rank", "values": [2, 4]}
RATES = {"parameter": "learning_rate", "from": 0.001, "to": 0.1, "count": 3, "scale": "log"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vary": [{"parameter": "rank", "values": [2, 999]}]}, "vary.0.values"),
    ({"vary": [{"parameter": "rank", "values": [2, 256]}]}, "vary.0.values"),
    ({"vary": [{"parameter": "rnak", "values": [2, 4]}]}, "vary.0.parameter"),
    ({"vary": [{"parameter": "rank"}]}, "vary.0"),
    (
        {"vary": [{"parameter": "rank", "values": [1], "from": 1, "to": 2, "count": 2}]},
        "vary.0",
    ),
    ({"vary": [{"parameter": "rank", "values": [[["x"]], {"a": 1}]}]}, "vary.0.values"),
    ({"vary": []}, "vary.0.parameter"),
    ({"vary": [RANKS, RANKS]}, "vary.1.parameter"),
    ({"method": "random"}, "runs"),
    ({"method": "random", "runs": 3, "draw_seed": -1}, "draw_seed"),
    ({"method": "all"}, "method"),
    ({"lab": "nothing"}, "lab"),
    ({"params": {"steps": -1}}, "steps"),
    ({"dataset": "nothing"}, "dataset"),
    ({"name": "x" * 121}, "name"),
    ({"seed": -1}, "seed"),
]  # fmt: skip


@pytest.fixture
def script(site: Site, tmp_path: Path) -> TestClient:
    with transaction() as session:
        make_library(session, tmp_path)
    return site.script("sam")


def body(**values: Any) -> dict[str, Any]:
    return {"lab": "lora", "params": {"steps": 20}, "vary": [RANKS, RATES], **values}


def test_a_sweep_starts_as_one_and_tells_its_runs(script: TestClient) -> None:
    key = {"Idempotency-Key": "one"}
    made = script.post("/api/v1/sweeps", json=body(), headers=key)
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["kind"], told["progress"]["total"]) == ("sweep", 6)
    assert told["runs"][0]["values"] == {"rank": 2, "learning_rate": 0.001}
    assert made.headers["location"] == told["links"]["self"]
    again = script.post("/api/v1/sweeps", json=body(), headers=key)
    assert again.json()["id"] == told["id"]
    changed = script.post("/api/v1/sweeps", json=body(vary=[RANKS]), headers=key)
    assert changed.status_code == 409
    run = script.get(told["runs"][3]["links"]["self"]).json()
    assert (run["group"]["id"], run["group"]["place"]) == (told["id"], 3)
    listed = script.get("/api/v1/sweeps").json()["sweeps"]
    assert [each["id"] for each in listed] == [told["id"]]


def test_a_draw_is_repeated_by_its_seed(script: TestClient) -> None:
    asked = body(method="random", runs=4, draw_seed=5, vary=[RATES])
    first, second = (script.post("/api/v1/sweeps", json=asked).json() for _ in range(2))
    assert [run["values"] for run in first["runs"]] == [run["values"] for run in second["runs"]]
    assert first["id"] != second["id"]


def test_what_does_not_hold_is_422_at_its_field(script: TestClient) -> None:
    for values, field in REFUSED:
        refused = script.post("/api/v1/sweeps", json=body(**values))
        assert refused.status_code == 422, refused.text
        assert [each["field"] for each in refused.json()["errors"]] == [field]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 0


def test_the_best_run_is_told_with_why(site: Site, script: TestClient) -> None:
    with transaction() as session:
        states = {1: RunState.FAILED}
        group = make_sweep(session, site.people["sam"], {"rank": [2, 4, 8]}, states)
    told = script.get(f"/api/v1/sweeps/{group.id}?metric=eval/loss").json()
    assert told["metric"] == {
        "key": "eval/loss", "unit": "nats per target token", "direction": "lower",
    }  # fmt: skip
    assert told["best"]["run"] == told["runs"][2]["id"]
    assert told["best"]["final"] is True
    assert told["runs"][1]["cause"] == "diverged"
    assert told["runs"][2]["result"]["best_step"] == 40
    assert site.script("tess").get(f"/api/v1/sweeps/{group.id}").status_code == 404


def test_cancelling_is_202_as_often_as_it_is_asked(script: TestClient) -> None:
    links = script.post("/api/v1/sweeps", json=body()).json()["links"]
    for _ in range(2):
        answer = script.post(links["cancellation"])
        assert answer.status_code == 202
        assert answer.json()["progress"]["states"] == {"cancelled": 6}


STRANGE: list[Any] = [None, -1, 10**30, "x" * 999, "1e400", {"a": 1}]


def test_nothing_that_can_be_sent_is_a_fault_of_ours(script: TestClient) -> None:
    """Refused or started, never broken; what is started can be looked at."""
    for strange in STRANGE:
        for values in (
            {"vary": strange},
            {"vary": [{"parameter": strange, "values": [1, 2]}]},
            {"vary": [{"parameter": "rank", "values": [strange, 2]}]},
            {"vary": [{"parameter": "target_modules", "values": [strange, "all-linear"]}]},
            {"vary": [{**RATES, "from": strange}]},
            {"vary": [{**RATES, "count": strange}]},
            {"vary": [RATES], "method": "random", "runs": strange},
            {"vary": [RATES], "method": "random", "runs": 2, "draw_seed": strange},
            {"params": {"rank": strange, "steps": 20}},
            {"params": strange, "vary": [{"parameter": "steps", "values": [10, strange]}]},
        ):
            answer = script.post("/api/v1/sweeps", json=body(**values))
            assert answer.status_code in (201, 409, 422, 429), (values, answer.text)
