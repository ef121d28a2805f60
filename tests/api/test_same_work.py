"""Same work over the API: offered, taken, and read like any other run, without a stranger's name."""

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from app import clock
from app.database import reading, transaction
from app.library.register import sync_bundled
from app.models import Classroom, Device, Enrollment, Role, Run
from tests.api.test_hostile import json_values, send
from tests.support.carried_out import carry_out
from tests.support.factories import make_device
from tests.support.site import Site

WORK = {"lab": "lora", "params": {"steps": 10}, "seed": 3}
READ_ALIKE = ("metrics", "metrics?points=2", "notebook")


@pytest.fixture
def classmates(site: Site) -> Site:
    """sam and amy in one class, on a site with what is bundled and one device."""
    amy = site.add("amy")
    with transaction() as session:
        sync_bundled(session)
        make_device(session, title="Two cores", ready=False)
        monday = session.scalars(select(Classroom).where(Classroom.name == "Monday")).one()
        session.add(Enrollment(classroom_id=monday.id, user_id=amy.id, role=Role.STUDENT))
    return site


def start(script: TestClient, **more: Any) -> dict[str, Any]:
    answer = script.post("/api/v1/runs", json={**WORK, **more})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def done(classmates: Site) -> str:
    """amy's finished run."""
    started = start(classmates.script("amy"))
    assert started["same_work"] is None
    with transaction() as session:
        run = session.scalars(select(Run)).one()
        carry_out(session, run)
    return str(started["id"])


def test_starting_tells_of_a_finished_run_and_queues_all_the_same(
    classmates: Site, done: str
) -> None:
    started = start(classmates.script("sam"))
    assert (started["state"], started["same_as"]) == ("queued", None)
    offer = started["same_work"]
    assert (offer["device"], offer["seed"], offer["own_run"]) == ("Two cores", 3, None)
    assert datetime.fromisoformat(offer["measured_at"])
    assert start(classmates.script("amy"))["same_work"]["own_run"] == done


def test_reuse_takes_the_result_at_once(classmates: Site, done: str) -> None:
    script = classmates.script("sam")
    started = start(script, reuse=True)
    assert (started["state"], started["same_work"]) == ("succeeded", None)
    assert started["same_as"]["device"] == "Two cores"
    whole = script.get(started["links"]["self"]).json()
    assert whole["same_as"] == started["same_as"]
    assert (whole["owner"]["name"], whole["attempts"], whole["device"]) == ("sam", [], None)


def test_a_waiting_run_takes_the_result_by_its_link(classmates: Site, done: str) -> None:
    script = classmates.script("sam")
    started = start(script)
    link = started["same_work"]["links"]["take"]
    for _ in range(2):
        taken = script.post(link)
        assert (taken.status_code, taken.json()["state"]) == (200, "succeeded")
    assert classmates.script("amy").post(link).status_code == 404


def test_a_run_that_starts_at_once_has_no_link_to_take_anything(
    classmates: Site, done: str
) -> None:
    with transaction() as session:
        session.execute(update(Device).values(ready=True, heartbeat_at=clock.now()))
    started = start(classmates.script("sam"))
    assert started["state"] == "assigned"
    assert started["same_work"]["seed"] == WORK["seed"]
    assert "links" not in started["same_work"]


def test_nothing_to_take_is_409(classmates: Site) -> None:
    script = classmates.script("sam")
    assert script.post(f"{start(script)['links']['self']}/same-work").status_code == 409


def test_a_taken_run_reads_as_the_measured_one(classmates: Site, done: str) -> None:
    sam, amy = classmates.script("sam"), classmates.script("amy")
    taken = start(sam, reuse=True)["id"]
    ours, theirs = (
        client.get(f"/api/v1/runs/{run}").json() for client, run in ((sam, taken), (amy, done))
    )
    for key in ("params", "stages", "environment", "metrics", "seed", "code_version"):
        assert ours[key] == theirs[key], key
    for part in READ_ALIKE:
        answers = [
            client.get(f"/api/v1/runs/{run}/{part}").content
            for client, run in ((sam, taken), (amy, done))
        ]
        assert answers[0] == answers[1], part
    names = [[a["name"], a["sha256"], a["bytes"]] for a in ours["artifacts"]]
    assert names == [[a["name"], a["sha256"], a["bytes"]] for a in theirs["artifacts"]]
    for path in ("artifacts/adapter", "artifacts/adapter/weights.bin"):
        mine = sam.get(f"/api/v1/runs/{taken}/{path}")
        assert mine.status_code == 200
        assert mine.content == amy.get(f"/api/v1/runs/{done}/{path}").content


def everything(client: TestClient, run: str) -> Iterator[str]:
    """All that a person can read of a run, on pages and in the API."""
    own = f"/api/v1/runs/{run}"
    paths = (own, f"{own}/metrics", f"{own}/log", f"{own}/artifacts", f"{own}/notebook")
    for path in (*paths, "/api/v1/runs", "/api/v1/queue", f"/runs/{run}", "/runs", "/"):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        yield answer.text


def test_nobody_learns_whose_run_it_was(classmates: Site, done: str) -> None:
    script, browser = classmates.script("sam"), classmates.client("sam")
    offered = browser.post("/labs/lora/estimate", data={"steps": "10", "seed": "3"}).text
    assert "Take this result" in offered
    waiting = start(script)["id"]
    texts = [offered, browser.get(f"/runs/{waiting}").text]
    assert "Take this result" in texts[1]
    taken = start(script, reuse=True)["id"]
    texts += [*everything(browser, taken), browser.get(f"/runs/{waiting}").text]
    for text in texts:
        assert done not in text
        assert "amy" not in text
    assert "Result of the same work" in browser.get(f"/runs/{taken}").text


def test_an_estimate_tells_of_same_work_and_of_its_rows(classmates: Site, done: str) -> None:
    script = classmates.script("sam")
    body = {**WORK, "params": {"steps": 10, "max_length": 16}}
    told = script.post("/api/v1/estimates", json=WORK).json()
    assert told["same_work"]["device"] == "Two cores"
    assert told["warnings"] == []
    cut = script.post("/api/v1/estimates", json=body).json()
    assert cut["same_work"] is None
    assert "of the sampled rows are longer than 16 tokens" in cut["warnings"][0]["text"]


def test_what_never_fits_is_422_with_alternatives(classmates: Site) -> None:
    script = classmates.script("sam")
    big: dict[str, Any] = {
        "lab": "lora", "dataset": "campus", "params": {"batch_size": 512, "max_length": 1024},
    }  # fmt: skip
    need = script.post("/api/v1/estimates", json=big).json()["memory_bytes"]
    with transaction() as session:
        session.execute(update(Device).values(memory_bytes=need - 1))
    answer = script.post("/api/v1/runs", json=big)
    assert answer.status_code == 422
    body = answer.json()
    assert "One of these would fit:" in body["errors"][0]["message"]
    assert body["alternatives"]
    for way in body["alternatives"]:
        assert way["memory_bytes"] < need
        changed = {**big, "params": {**big["params"], **way["changes"]}}
        assert script.post("/api/v1/runs", json=changed).status_code == 201, way


def test_ten_parallel_posts_of_one_key_give_one_run(classmates: Site) -> None:
    script = classmates.script("sam")
    together = threading.Barrier(10)
    answers: list[tuple[int, str]] = []

    def post() -> None:
        together.wait()
        answer = script.post("/api/v1/runs", json=WORK, headers={"Idempotency-Key": "once"})
        answers.append((answer.status_code, answer.json()["id"]))

    threads = [threading.Thread(target=post) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    assert len(set(answers)) == 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 1


@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(value=json_values, field=st.sampled_from(["reuse", "stages", "seed", "parent_run"]))
def test_odd_values_of_the_new_fields_are_answered(
    classmates: Site, value: Any, field: str
) -> None:
    script = classmates.script("sam")
    for path in ("/runs", "/estimates"):
        assert send(script, path, {"lab": "lora", field: value}) in (200, 201, 400, 422, 429)


@pytest.mark.parametrize("field", ["retry_of", "reserve_bytes", "queued_at", "same_as_id"])
def test_what_only_we_may_say_is_refused(classmates: Site, field: str) -> None:
    answer = classmates.script("sam").post("/api/v1/runs", json={**WORK, field: 1})
    assert answer.status_code == 422
