"""Scoreboards over the API: started as one, told as one, cancelled as one."""

import pytest
from starlette.testclient import TestClient

from app.database import transaction
from app.library.register import sync_bundled
from app.models import RunState
from tests.support.factories import make_device
from tests.support.factories_boards import make_scoreboard
from tests.support.site import Site

WANTED = {
    "methods": ["lora", "ia3", "prompt_tuning"],
    "base_model": "base",
    "dataset": "tickets",
    "seed": 3,
    "steps": 12,
    "budget": {"batch_size": 4},
    "learning_rates": {"lora": 0.01},
    "name": "Three",
}


@pytest.fixture
def sam(site: Site) -> TestClient:
    with transaction() as session:
        sync_bundled(session)
        make_device(session)
    return site.script("sam")


def test_one_call_starts_all_and_the_same_key_nothing_more(sam: TestClient) -> None:
    first = sam.post("/api/v1/scoreboards", json=WANTED, headers={"Idempotency-Key": "k"})
    assert first.status_code == 201, first.text
    told = first.json()
    assert sam.get(first.headers["location"]).json()["id"] == told["id"]
    assert [row["method"] for row in told["rows"]] == ["lora", "prompt_tuning", "ia3"]
    assert told["budget"]["steps"] == 12
    assert told["budget"]["batch_size"] == 4
    assert {row["method"]: row["learning_rate"] for row in told["rows"]}["lora"] == 0.01
    assert sum(told["states"].values()) == 3
    again = sam.post("/api/v1/scoreboards", json=WANTED, headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == told["id"]
    changed = {**WANTED, "steps": 13}
    conflict = sam.post("/api/v1/scoreboards", json=changed, headers={"Idempotency-Key": "k"})
    assert conflict.status_code == 409
    assert [each["id"] for each in sam.get("/api/v1/scoreboards").json()["scoreboards"]] == [
        told["id"]
    ]


def test_cancelled_as_one(sam: TestClient, site: Site) -> None:
    told = sam.post("/api/v1/scoreboards", json=WANTED).json()
    cancel = told["links"]["cancellation"]
    assert site.script("tess").post(cancel).status_code == 404
    assert sam.post(cancel).status_code == 202
    assert sam.post(cancel).status_code == 202
    now = sam.get(told["links"]["self"]).json()
    assert now["is_over"] or all(
        row["run"]["state"] in ("cancelled", "assigned") for row in now["rows"]
    )


WRONG = (
    ({"methods": ["lora"]}, "methods"),
    ({"methods": ["lora", "no such"]}, "methods"),
    ({"steps": 0}, "steps"),
    ({"budget": {"steps": 13}}, "steps"),
    ({"budget": {"rank": 4}}, "budget"),
    ({"budget": {"batch_size": [1]}}, "batch_size"),
    ({"learning_rates": {"lora": -1}}, "learning_rates.lora"),
    ({"learning_rates": {"full": 1}}, "learning_rates"),
    ({"base_model": "none"}, "base_model"),
    ({"dataset": "none"}, "dataset"),
    ({"seed": -1}, "seed"),
    ({"name": "x" * 121}, "name"),
    ({"unknown": 1}, "unknown"),
)


def test_what_does_not_hold_is_named_and_starts_nothing(sam: TestClient) -> None:
    for changes, field in WRONG:
        refused = sam.post("/api/v1/scoreboards", json={**WANTED, **changes})
        assert refused.status_code == 422, refused.text
        assert field in [each["field"] for each in refused.json()["errors"]], changes
    assert sam.get("/api/v1/runs").json()["runs"] == []


def test_a_finished_one_tells_figures_with_their_source(sam: TestClient, site: Site) -> None:
    with transaction() as session:
        states = {"full": RunState.FAILED}
        made = make_scoreboard(session, site.people["sam"], ("lora", "bitfit", "full"), states)
    told = sam.get(f"/api/v1/scoreboards/{made.id}?cost=size&quality=test").json()
    rows = {row["method"]: row for row in told["rows"]}
    assert rows["lora"]["figures"]["quality"] == {
        "value": 0.95, "untouched": 0.02, "step": 10, "values": 1,
    }  # fmt: skip
    assert all(each["measured"] for each in told["columns"])
    assert told["tradeoff"]["front"] == ["bitfit", "lora"]
    assert told["tradeoff"]["cost"] == "size"
    assert told["tradeoff"]["dominated"] == {}
    assert rows["full"]["run"]["cause"] == "diverged"
    assert any("Full fine-tuning" in each["text"] for each in told["warnings"])
    for other in ("tess", "tariq"):
        assert site.script(other).get(f"/api/v1/scoreboards/{made.id}").status_code == 404
    assert site.script("maria").get(f"/api/v1/scoreboards/{made.id}").status_code == 200
