"""A run's event stream: everything once, in order, over any number of reconnects."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import httpx2
import numpy as np
import pytest
from sqlalchemy import update

from app.database import transaction
from app.metrics import store
from app.metrics.chunk import MetricRow
from app.models import Run, RunState
from app.runs import feed, lifecycle, stream
from app.runs.feed import Cursor
from app.runs.journal import append_events
from app.security import cookie_name
from app.settings import get_settings
from tests.support.factories import make_attempt, make_run
from tests.support.site import Site, served


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with served(site.app) as address:
        yield address


def running(site: Site, owner: str = "sam") -> UUID:
    with transaction() as session:
        run = make_run(session, site.people[owner], state=RunState.RUNNING, attempt=1, device="cpu")
        make_attempt(session, run)
        return run.id


def log_points(run_id: UUID, steps: Sequence[int], attempt: int = 1, value: float = 0.5) -> None:
    with transaction() as session:
        rows = [MetricRow(step, float(step), {"train/loss": value}) for step in steps]
        store.append(session, run_id, attempt, rows)


def finish(run_id: UUID, attempt: int = 1) -> None:
    with transaction() as session:
        lifecycle.finish(session, run_id, attempt, RunState.SUCCEEDED)


class Listener:
    """Reads a stream and remembers what it got."""

    def __init__(self, site: Site, url: str, run_id: UUID, who: str = "sam") -> None:
        self.headers = {"Authorization": f"Bearer {site.token(who)}"}
        self.url = f"{url}/api/v1/runs/{run_id}/events"
        self.last_id = ""
        self.got: list[tuple[str, dict[str, Any]]] = []

    def listen(self, until: str = "end", stop_after: int | None = None) -> int:
        headers = {**self.headers, "Last-Event-ID": self.last_id}
        count = 0
        with httpx2.stream("GET", self.url, headers=headers, timeout=20) as response:
            for name, data in self._events(response.iter_lines()):
                self.got.append((name, data))
                count += 1
                if name == until or count == stop_after:
                    break
            return response.status_code

    def _events(self, lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        fields: dict[str, str] = {}
        for line in lines:
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                self.last_id = fields["id"]
                yield fields["event"], json.loads(fields["data"])
                fields = {}

    def steps(self, key: str = "train/loss") -> list[int]:
        found: list[int] = []
        for name, data in self.got:
            if name == "rewind":
                found = [step for step in found if step <= data["step"]]
            if name == "points":
                found += data["series"][key]["steps"]
        return found

    def log(self) -> str:
        return "".join(data["text"] for name, data in self.got if name == "log")


def test_a_stream_tells_everything_and_ends(site: Site, url: str) -> None:
    run_id = running(site)
    log_points(run_id, range(10))
    listener = Listener(site, url, run_id)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    time.sleep(0.2)
    log_points(run_id, range(10, 20))
    finish(run_id)
    thread.join(10)
    assert listener.steps() == list(range(20))
    assert listener.got[-1] == ("end", {"state": "succeeded", "cause": None})
    assert [data["state"] for name, data in listener.got if name == "state"] == ["succeeded"]


def test_reconnecting_anywhere_leaves_no_gap_and_repeats_nothing(site: Site, url: str) -> None:
    run_id = running(site)
    folder = get_settings().run_dir(run_id)
    folder.mkdir(parents=True)
    stopped = threading.Event()

    def work() -> None:
        for block in range(25):
            log_points(run_id, range(block * 4, block * 4 + 4))
            with transaction() as session:
                append_events(session, run_id, 1, [("stage", {"number": block})])
            with (folder / "output.log").open("a") as file:
                file.write(f"line {block}\n")
            time.sleep(0.08)
        finish(run_id)
        stopped.set()

    worker = threading.Thread(target=work)
    worker.start()
    listener = Listener(site, url, run_id)
    deadline = time.monotonic() + 60
    while (not listener.got or listener.got[-1][0] != "end") and time.monotonic() < deadline:
        listener.listen(stop_after=2)
    worker.join()
    assert listener.steps() == list(range(100))
    assert [data["number"] for name, data in listener.got if name == "stage"] == list(range(25))
    assert listener.log() == "".join(f"line {block}\n" for block in range(25))


def test_a_resumed_attempt_rewinds_the_chart(site: Site, url: str) -> None:
    run_id = running(site)
    log_points(run_id, range(10))
    listener = Listener(site, url, run_id)
    listener.listen(until="points")
    with transaction() as session:
        session.execute(update(Run).values(attempt=2))
        make_attempt(session, session.get_one(Run, run_id), 2)
        store.rewind(session, run_id, 2, 5)
        append_events(session, run_id, 2, [("resumed", {"step": 5})])
    log_points(run_id, range(6, 9), attempt=2, value=0.25)
    finish(run_id, attempt=2)
    listener.listen()
    assert listener.steps() == list(range(9))


def test_not_a_number_arrives_by_name(site: Site, url: str) -> None:
    run_id = running(site)
    log_points(run_id, [1], value=np.nan)
    log_points(run_id, [2], value=-np.inf)
    finish(run_id)
    listener = Listener(site, url, run_id)
    listener.listen()
    (points,) = [data for name, data in listener.got if name == "points"]
    assert points["series"]["train/loss"]["values"] == ["NaN", "-Infinity"]


def test_a_browser_that_has_seen_the_end_is_told_to_stay_away(site: Site, url: str) -> None:
    run_id = running(site)
    finish(run_id)
    listener = Listener(site, url, run_id)
    assert listener.listen() == 200
    assert listener.listen() == 204


def test_whoever_was_cut_off_before_the_end_still_gets_it(site: Site, url: str) -> None:
    run_id = running(site)
    log_points(run_id, [1])
    finish(run_id)
    listener = Listener(site, url, run_id)
    while listener.listen(stop_after=1) == 200 and listener.got[-1][0] != "end":
        assert len(listener.got) < 10
    assert listener.got[-1][0] == "end"


def test_a_waiting_run_says_its_place(site: Site, url: str) -> None:
    with transaction() as session:
        run_id = make_run(session, site.people["sam"], position=3, reason={"message": "x"}).id
    listener = Listener(site, url, run_id)
    listener.listen(until="queue")
    assert listener.got[-1][1]["position"] == 3


def test_nobody_else_may_listen(site: Site, url: str) -> None:
    run_id = running(site)
    assert Listener(site, url, run_id, "tess").listen() == 404
    assert Listener(site, url, run_id, "tariq").listen() == 404
    assert httpx2.get(f"{url}/api/v1/runs/{run_id}/events").status_code == 401


def test_a_stream_ends_when_its_reader_is_signed_out(
    site: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PERMISSION_SECONDS", 0.0)
    run_id = running(site)
    client = site.client("sam")
    cookies = {cookie_name(): client.cookies[cookie_name()]}
    with httpx2.stream("GET", f"{url}/runs/{run_id}/events", cookies=cookies, timeout=20) as answer:
        lines = answer.iter_lines()
        client.post("/logout")
        log_points(run_id, [1])
        rest = list(lines)
    assert not any(line.startswith("event: end") for line in rest)


def test_pollers_end_with_their_last_listener(site: Site, url: str) -> None:
    run_id = running(site)
    log_points(run_id, [1])
    Listener(site, url, run_id).listen(until="points")
    deadline = time.monotonic() + 5
    while stream.feeds and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stream.feeds == {}


def test_streams_end_when_the_server_is_about_to(site: Site, url: str) -> None:
    run_id = running(site)
    log_points(run_id, [1])
    listener = Listener(site, url, run_id)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    deadline = time.monotonic() + 10
    while not listener.got and time.monotonic() < deadline:
        time.sleep(0.05)
    feed.stopping.set()
    try:
        thread.join(5)
        assert not thread.is_alive()
    finally:
        feed.stopping.clear()
    assert [name for name, _data in listener.got] == ["points"]


def test_nobody_holds_more_streams_than_a_person_can_watch(
    site: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = running(site)
    log_points(run_id, [1])
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    headers = {"Authorization": f"Bearer {site.token('sam')}"}
    address = f"{url}/api/v1/runs/{run_id}/events"
    with httpx2.stream("GET", address, headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert httpx2.get(address, headers=headers).status_code == 429
    assert Listener(site, url, run_id, "maria").listen(until="points") == 200


@pytest.mark.parametrize("text", ["1", "1.2.3.4", "-1.0", "a.b", "9" * 16 + ".1"])
def test_an_id_that_is_not_ours_is_refused(site: Site, text: str) -> None:
    run_id = running(site)
    answer = site.script("sam").get(f"/api/v1/runs/{run_id}/events?after={text}")
    assert answer.status_code == 422


def test_a_cursor_reads_back() -> None:
    assert stream.parse_cursor("7.3") == Cursor(7, 3)
    assert stream.parse_cursor(str(Cursor(7, 3, 100))) == Cursor(7, 3, 100)
