"""Four web servers beside each other are one, and a third of the bells may be lost."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx2
import pytest

from app.accounts import people
from app.database import get_engine, transaction
from app.library.register import sync_bundled
from app.migrate import upgrade
from app.models import OVER, RunState, User
from app.up import Address, web_is_ready
from labs import bundled
from tests.faults import gate
from tests.faults.box import Box, RoleProcess, free_port
from tests.faults.checks import (
    Expected,
    check_artifacts,
    check_chart,
    check_nothing_is_left,
    check_one_end,
)
from tests.faults.conftest import forget
from tests.faults.lossy import LossyBroker
from tests.faults.patience import START_SECONDS, eventually
from tests.faults.phases import Scene
from tests.faults.trainer import INTERVAL, points
from tests.faults.viewer import Viewer

WEBS = 4
LOST = 0.3
RUNS = 8
EXPECTED = Expected(points(), INTERVAL)
# New in each form, so that one click starts one run.
KEY = re.compile(r'name="idempotency_key" value="\w+"')
BODY = {"lab": "lora", "base_model": bundled.DEFAULT_MODEL, "dataset": bundled.DEFAULT_DATASET}


@dataclass
class Wide(Box):
    """A box with more than one web server, whose broker loses messages."""

    webs: dict[int, RoleProcess] = field(default_factory=dict)
    broker: LossyBroker = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.webs[self.port] = self.web
        for number in range(1, WEBS):
            port = free_port()
            words = ("-m", "app.cli", "web", "--host", "127.0.0.1", "--port", str(port))
            self.webs[port] = self._role(f"web{number}", *words)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "BUNSEN_BROKER_URL": f"redis+socket://{self.lossy}"}

    @property
    def lossy(self) -> Path:
        return self.home / "lossy.sock"

    @property
    def roles(self) -> tuple[RoleProcess, ...]:
        return (*self.webs.values(), self.worker, self.housekeeper)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.webs]

    def web_is_ready(self) -> bool:
        return all(web_is_ready(Address("127.0.0.1", port)) for port in self.webs)

    def viewer(self, number: int, run_id: UUID) -> Viewer:
        """A page of one of the servers."""
        place: Any = SimpleNamespace(url=self.urls[number % WEBS], token=self.token)
        return Viewer(place, run_id)


@pytest.fixture
def wide(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wide]:
    home = Path(tempfile.mkdtemp(prefix="wide", dir=scratch))
    box = Wide(home, f"sqlite:///{home / 'bunsen.db'}")
    with ExitStack() as stack:
        stack.callback(box.stop)
        for name, value in box.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        stack.callback(forget)
        upgrade(get_engine())
        with transaction() as session:
            sync_bundled(session)
        assert box.redis.broker.socket is not None
        box.redis.start()
        box.broker = LossyBroker(box.lossy, box.redis.broker.socket, LOST)
        stack.callback(box.broker.close)
        box.ensure()
        box.person()
        yield box


def send(box: Wide, number: int, key: str) -> UUID:
    headers = {"Authorization": f"Bearer {box.token}", "Idempotency-Key": key}
    answer = httpx2.post(
        f"{box.urls[number % WEBS]}/api/v1/runs", json=BODY, headers=headers, timeout=60
    )
    assert answer.status_code in (200, 201), answer.text
    return UUID(answer.json()["id"])


def signed_in(box: Wide) -> str:
    """The cookie of somebody who signs in at the first server."""
    with transaction() as session:
        link = people.entry_link(session, session.get_one(User, box.person().id))
    entered = httpx2.get(f"{box.urls[0]}/enter/{link}", follow_redirects=False)
    assert entered.status_code == 303
    return str(entered.cookies["session"])


def pages(box: Wide, address: str, **headers: str) -> set[tuple[int, str]]:
    """What all the servers answer: one thing, if they agree."""
    answers = [
        httpx2.get(url + address, headers=headers, follow_redirects=False, timeout=60)
        for url in box.urls
    ]
    return {(each.status_code, KEY.sub("", each.text)) for each in answers}


@pytest.mark.faults(everyday=False)
def test_four_web_servers_are_one(wide: Wide) -> None:
    wide.freeze(wide.worker, "test")  # so that nothing changes while pages are compared
    wide.freeze(wide.housekeeper, "test")
    first = send(wide, 0, "once")
    assert [send(wide, number, "once") for number in range(1, WEBS)] == [first] * (WEBS - 1)
    cookie = {"Cookie": f"session={signed_in(wide)}"}
    for address in ("/runs", "/labs/lora", "/datasets", "/account", "/api/v1/runs"):
        answers = pages(wide, address, **cookie)
        assert len(answers) == 1, address
        assert answers.pop()[0] == 200, address
    gate.want(wide.run_dir(first), "train")
    for role in (wide.worker, wide.housekeeper):
        role.thaw("test")
    with wide.viewer(1, first) as viewer:
        eventually(lambda: gate.reached(wide.run_dir(first)), "the run did not start")
        told = {"Origin": wide.urls[2], **cookie}
        cancelled = httpx2.post(
            f"{wide.urls[2]}/runs/{first}/cancellation", headers=told, follow_redirects=False
        )
        assert cancelled.status_code < 400, cancelled.text
        scene = Scene(wide, first, "train")
        scene.wait_for(*OVER)
    assert scene.state is RunState.CANCELLED
    check_one_end(scene, wide.run(first))
    check_chart(scene, wide.run(first), viewer, EXPECTED)
    told = {"Origin": wide.urls[3], **cookie}
    httpx2.post(f"{wide.urls[3]}/logout", headers=told, follow_redirects=False)
    assert {status for status, _text in pages(wide, "/account", **cookie)} == {303}


@pytest.mark.faults(everyday=False)
def test_lost_bells_lose_nothing(wide: Wide) -> None:
    runs = [send(wide, number, f"run {number}") for number in range(RUNS)]
    with ExitStack() as stack:
        viewers = [stack.enter_context(wide.viewer(at + 1, run)) for at, run in enumerate(runs)]
        eventually(
            lambda: all(wide.run(run_id).state.is_over for run_id in runs),
            "a run stayed",
            START_SECONDS,
        )
    for run_id, viewer in zip(runs, viewers, strict=True):
        scene, run = Scene(wide, run_id, "all"), wide.run(run_id)
        assert (run.state, run.attempt) == (RunState.SUCCEEDED, 1)
        check_one_end(scene, run)
        check_chart(scene, run, viewer, EXPECTED)
        check_artifacts(scene)
        check_nothing_is_left(scene)
    assert wide.broker.lost
    assert wide.broker.passed
