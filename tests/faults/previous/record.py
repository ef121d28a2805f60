"""Records what a release does to a database, for the tests of the releases after it.

Run it in the tree of that release, into which this folder was copied:

    git archive RELEASE | tar -x -C OLD && cp -r tests/faults/previous OLD/tests/
    cd OLD && python -m tests.previous.record sqlite|postgres HEAD-sqlite|postgres.json.gz

It plays a short life on a site: pages are looked at, a run is sent and cancelled, one is carried
out, one is in the middle when worker and trainer are killed, one still waits. The file has the
rows `before` and `after`, every transaction in between, the run directory of the run in the
middle, and the words that columns of states may hold.
"""

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, select
from starlette.testclient import TestClient

from app import database, migrate
from app.accounts import people
from app.database import reading, transaction
from app.main import create_app
from app.models import Base, DeviceState, Role, Run, RunState, User
from app.runs import lifecycle
from app.settings import ROOT, get_settings
from labs import bundled
from tests.support.factories import make_dataset, make_model
from tests.support.postgres import running_postgres
from tests.support.redis import running_redis

from .values import to_json

PAGES = (
    "/", "/labs", "/labs/lora", "/labs/lora/runs/new", "/runs", "/queue", "/datasets",
    "/library", "/admin/devices", "/admin/audit", "/admin/storage", "/admin/people",
    "/api/v1/runs", "/api/v1/labs", "/api/v1/queue", "/metrics", "/readyz",
)  # fmt: skip
PAGES_OF_A_RUN = ("/runs/{}", "/api/v1/runs/{}", "/api/v1/runs/{}/metrics")
MIDDLE = 12
READING = ("SELECT", "WITH")
WORDS = (RunState, DeviceState, Role)


class Recorder:
    """Notes the statements of each transaction that is committed; of readings, each text once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: dict[int, list[Any]] = {}
        self._read: set[str] = set()
        for name in ("after_cursor_execute", "commit", "rollback"):
            event.listen(Engine, name, getattr(self, f"_{name}"))

    def _after_cursor_execute(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        if statement.split()[0] not in ("BEGIN", "PRAGMA"):
            noted = self._open.setdefault(id(connection), [])
            noted.append([statement, to_json(parameters)])

    def _commit(self, connection: Any) -> None:
        self._write(self._open.pop(id(connection), []))

    def _rollback(self, connection: Any) -> None:
        noted = self._open.pop(id(connection), [])
        self._write([each for each in noted if each[0].startswith(READING)])

    def _write(self, noted: list[Any]) -> None:
        kept = [each for each in noted if not self._is_known(each[0])]
        if kept:
            with self._file.open("a") as file:
                file.write(json.dumps(kept) + "\n")

    def _is_known(self, text: str) -> bool:
        known = text in self._read
        if text.startswith(READING):
            self._read.add(text)
        return known


def rows() -> dict[str, list[Any]]:
    """Every row of every table."""
    with reading() as session:
        return {
            name: [to_json(dict(row._mapping)) for row in session.execute(select(table))]
            for name, table in Base.metadata.tables.items()
        }


def write(file: Path, recorded: dict[str, Any]) -> None:
    """The record without the names of this machine; the same record gives the same file."""
    text = json.dumps(recorded, ensure_ascii=False, sort_keys=True)
    for name, instead in ((str(ROOT), "/old"), (json.dumps(socket.gethostname()), '"box"')):
        text = text.replace(name, instead)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


def eventually(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
    return found


def state(run_id: Any) -> RunState:
    with reading() as session:
        return session.get_one(Run, run_id).state


def queue(owner: User, name: str, **script: Any) -> Any:
    with transaction() as session:
        model = make_model(session, name=f"model of {name}")
        rows_of = make_dataset(session, name=f"rows of {name}")
        run = Run(
            owner_id=owner.id, name=name, lab="lora", code_version="1", stages=["train"],
            params=script, seed=0, estimate={"memory_bytes": 1 << 20, "seconds": [1, 2]},
            base_model_id=model.id, dataset_id=rows_of.id,
            created_at=owner.created_at, queued_at=owner.created_at,
        )  # fmt: skip
        lifecycle.insert_queued(session, run)
        return run.id


def send_and_cancel(client: TestClient) -> None:
    body = {
        "lab": "lora", "params": {}, "base_model": bundled.DEFAULT_MODEL,
        "dataset": bundled.DEFAULT_DATASET, "name": "sent",
    }  # fmt: skip
    answer = client.post("/api/v1/runs", json=body)
    assert answer.status_code in (200, 201, 202), answer.text
    cancelled = client.post(f"/api/v1/runs/{answer.json()['id']}/cancellation")
    assert cancelled.status_code < 300, cancelled.text


def look(client: TestClient, *pages: str) -> None:
    for page in pages:
        assert client.get(page).status_code in (200, 403), page


@contextmanager
def worker(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "tests.previous.record", "worker", str(file)]
    process = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def play(noted: Path) -> dict[str, Any]:
    with transaction() as session:
        owner = people.add_user(session, "sam", Role.STUDENT)
        admin = people.add_user(session, "ada", Role.ADMIN)
        tokens = [people.create_api_token(session, each) for each in (owner, admin)]
    student, root = (
        TestClient(create_app(), headers={"Authorization": f"Bearer {token}"}) for token in tokens
    )
    with student:  # starting it registers what comes with Bunsen
        before = rows()
    Recorder(noted)
    send_and_cancel(student)
    done = queue(owner, "done", steps=20)
    middle = queue(owner, "in the middle", steps=60, pause=0.2)
    queue(owner, "waits", steps=5)
    with worker(noted):
        eventually(lambda: state(done) is RunState.SUCCEEDED)
        for client in (student, root):
            look(client, *PAGES, *(page.format(middle) for page in PAGES_OF_A_RUN))
            look(client, *(page.format(done) for page in PAGES_OF_A_RUN))
        eventually(lambda: last_step(middle) >= MIDDLE)
    eventually(lambda: not trainer_lives(middle))
    assert state(middle) is RunState.RUNNING
    transactions = [json.loads(line) for line in noted.read_text().splitlines()]
    files = get_settings().run_dir(middle).iterdir()
    return {
        "before": before,
        "after": rows(),
        "transactions": transactions,
        "run": {file.name: file.read_text() for file in files},
        "words": {kind.__name__: [each.value for each in kind] for kind in WORDS},
    }


def last_step(run_id: Any) -> int:
    file = get_settings().run_dir(run_id) / "events.jsonl"
    events = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
    return max((event.get("step", 0) for event in events), default=0)


def trainer_lives(run_id: Any) -> bool:
    """Whether the trainer of a run still lives; kills it."""
    noted = get_settings().run_dir(run_id) / "trainer.json"
    if not noted.exists():
        return False
    try:
        os.kill(json.loads(noted.read_text())["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def main(database_name: str, file: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="bunsen-"))
    scratch.chmod(0o711)
    home = scratch / "home"
    settings = {"HOME": str(home), "DEVICE_SLOTS": "1", "LEASE": "PT3S", "STOP_GRACE": "PT4S"}
    os.environ.update({f"BUNSEN_{name}": value for name, value in settings.items()})
    (scratch / "redis").mkdir()
    (scratch / "postgres").mkdir()
    with running_redis(scratch / "redis") as broker_url:
        os.environ["BUNSEN_BROKER_URL"] = broker_url
        if database_name == "sqlite":
            record(f"sqlite:///{home / 'bunsen.db'}", scratch / "noted", file)
        else:
            with running_postgres(scratch / "postgres") as server:
                record(server.url(server.create()), scratch / "noted", file)
    shutil.rmtree(scratch)


def record(url: str, noted: Path, file: Path) -> None:
    os.environ["BUNSEN_DATABASE_URL"] = url
    get_settings.cache_clear()
    migrate.upgrade(database.get_engine())
    try:
        write(file, play(noted))
    finally:
        database.reset()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        from tests.workers import scripted
        from workers import device

        Recorder(Path(sys.argv[2]))
        sys.exit(device.serve("cpu", scripted.forge))
    main(sys.argv[1], Path(sys.argv[2]))
