"""Many runs logging at once."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import UUID

import psutil

from app import database, migrate
from app.library.register import sync_bundled
from app.models import Role, RunState
from app.runs import lifecycle
from benchmarks.box import ROOT
from benchmarks.history import KEYS, add_run, database_of
from benchmarks.report import Row
from workers.follow import Follower

RUNS, STEPS_A_SECOND, SECONDS, FOLLOW_EVERY = 20, 50, 20, 0.5


def measure() -> list[Row]:
    """20 runs, each logging 50 steps a second with 10 metrics a step, followed into SQLite."""
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)):
        runs = _live_runs(Path(folder))
        lag, seconds, cpu = _follow(Path(folder), runs)
    rows = RUNS * STEPS_A_SECOND * SECONDS
    return [
        Row("rows written", f"{rows:,} in {SECONDS} s", "–", f"{RUNS} files, by another process"),
        Row("behind at the end of writing", f"{lag:,} rows ({lag / rows:.2%})", "under one flush each", f"followed every {FOLLOW_EVERY} s"),
        Row("all in the database after", f"{seconds:.2f} s", "0.5 s + one flush", "from the last write"),
        Row("processor time of following", f"{cpu / SECONDS:.0%} of one core", "–", "threads of one process"),
    ]  # fmt: skip


def _live_runs(home: Path) -> list[UUID]:
    from app.accounts.people import add_user

    migrate.upgrade(database.get_engine())
    with database.transaction() as session:
        sync_bundled(session)
        add_user(session, "admin", Role.ADMIN)
    runs = [add_run(0, RunState.QUEUED, f"run {number}") for number in range(RUNS)]
    for run_id in runs:
        (home / "runs" / str(run_id)).mkdir(parents=True)
        with database.transaction() as session:
            attempt = lifecycle.assign(session, run_id, "cpu", lifecycle.reason_of("benchmark"))
            lifecycle.claim(session, run_id, attempt, "cpu")
    return runs


def _follow(home: Path, runs: list[UUID]) -> tuple[int, float, float]:
    stop, taken = threading.Event(), [0] * len(runs)

    def follow(number: int, run_id: UUID) -> None:
        follower = Follower(run_id, 2, home / "runs" / str(run_id), 0)
        while True:
            last = stop.is_set()
            batch = follower.read()
            if batch.events:
                with database.transaction() as session:
                    follower.take(session, batch)
                follower.committed(batch)
                taken[number] += len(batch.events)
            elif last:
                return
            if not last:
                stop.wait(FOLLOW_EVERY)

    threads = [threading.Thread(target=follow, args=pair) for pair in enumerate(runs)]
    before = sum(psutil.Process().cpu_times()[:2])
    for thread in threads:
        thread.start()
    files = [str(home / "runs" / str(run_id) / "events.jsonl") for run_id in runs]
    subprocess.run([sys.executable, "-m", "benchmarks.ingest", *files], cwd=ROOT, check=True)
    lag, ended = RUNS * STEPS_A_SECOND * SECONDS - sum(taken), time.perf_counter()
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(taken) == RUNS * STEPS_A_SECOND * SECONDS
    return lag, time.perf_counter() - ended, sum(psutil.Process().cpu_times()[:2]) - before


def write(files: list[str]) -> None:
    """What 20 trainers do: one line a step to each file, 50 times a second."""
    opened = [Path(file).open("ab", buffering=0) for file in files]  # noqa: SIM115
    values = dict.fromkeys((*KEYS, "eval/accuracy", "eval/perplexity"), 1.5)
    began = time.perf_counter()
    for step in range(1, STEPS_A_SECOND * SECONDS + 1):
        event = {"t": time.time(), "attempt": 2, "kind": "metrics", "step": step, "values": values}
        line = json.dumps(event).encode() + b"\n"
        for file in opened:
            file.write(line)
        time.sleep(max(0.0, began + step / STEPS_A_SECOND - time.perf_counter()))


if __name__ == "__main__":
    write(sys.argv[1:])
