"""The whole way of a run, with a real worker, a real Redis and a real database."""

import signal
import subprocess
import sys

import psutil
import pytest

from app import broker, clock
from app.children import START_AGAIN
from app.database import reading, transaction
from app.devices.status import status_of
from app.metrics import store
from app.models import Attempt, Device, DeviceState, Run, RunState, User
from app.runs import lifecycle, queries
from app.runs.dispatch import fill_devices
from app.runs.reasons import reason_of
from app.settings import ROOT
from labs.contract import Cause
from tests.support.processes import is_alive
from tests.workers.conftest import Bench, eventually, run_of, start_process, wait_for
from workers import canaries, chores


def steps_of(run: Run) -> list[int]:
    with reading() as session:
        steps, _ = store.read(session, run.id).series("train/loss")
    return [int(step) for step in steps]


def attempts_of(run: Run) -> list[Attempt]:
    with reading() as session:
        return list(queries.attempts(session, run.id))


def start_run(bench: Bench, **script: object) -> Run:
    """A run that is training: it has logged its first steps."""
    run_id = bench.queue_run(**script)
    fill_devices()
    wait_for(run_id, RunState.RUNNING)
    eventually(lambda: run_of(run_id).metric_rows, "no metrics came")
    return run_of(run_id)


def trainer_of(run: Run) -> psutil.Process:
    pid = eventually(lambda: attempts_of(run)[-1].pid, "the trainer's pid was not noted")
    return psutil.Process(pid)


def cancel(run: Run) -> None:
    with transaction() as session:
        lifecycle.request_cancel(session, run.id, session.get_one(User, run.owner_id))


on_both_databases = pytest.mark.parametrize(
    "settings_for_workers", ["sqlite", "postgres"], indirect=True
)


@on_both_databases
def test_a_run_is_carried_out(bench: Bench) -> None:
    bench.start_worker()
    run_id = bench.queue_run(steps=50)
    assert fill_devices() == 1
    run = wait_for(run_id, RunState.SUCCEEDED)
    assert (run.attempt, run.device, run.progress_done, run.stage) == (1, "cpu", 50.0, "train")
    with reading() as session:
        steps, losses = store.read(session, run_id).series("train/loss")
        told = [event.kind for event in queries.events(session, run_id)]
    assert steps.tolist() == list(range(1, 51))
    assert losses.tolist() == [1 / step for step in range(1, 51)]
    assert told == ["state", "state", "environment", "stage", "state"]


def test_a_trainer_finds_no_secrets_in_its_environment(bench: Bench) -> None:
    bench.start_worker()
    run_id = bench.queue_run(steps=1)
    fill_devices()
    assert wait_for(run_id, RunState.SUCCEEDED).environment["secrets"] == []


def test_a_lab_that_fails_tells_its_cause_and_sentence(bench: Bench) -> None:
    bench.start_worker()
    script = {"outcome": "failed", "cause": "diverged", "message": "The loss became {value}."}
    run_id = bench.queue_run(steps=1, **script)
    fill_devices()
    run = wait_for(run_id, RunState.FAILED)
    assert run.cause == Cause.DIVERGED
    assert run.reason is not None
    assert run.reason["message"] == "The loss became {{value}}."


def test_a_bell_that_rings_ten_times_starts_one_attempt(bench: Bench) -> None:
    bench.start_worker()
    run = start_run(bench, steps=60)
    for _ in range(10):
        assert broker.ring(run.id, 1, "cpu")
    run = wait_for(run.id, RunState.SUCCEEDED)
    assert run.attempt == 1
    assert steps_of(run) == list(range(1, 61))


@on_both_databases
def test_a_killed_trainer_resumes_from_its_checkpoint_on_one_line(bench: Bench) -> None:
    bench.start_worker()
    run_id = bench.queue_run(steps=20, kill_at=13)
    fill_devices()
    run = wait_for(run_id, RunState.SUCCEEDED)
    first, second = attempts_of(run)
    assert (first.outcome, first.cause) == ("requeued", Cause.KILLED)
    assert first.reason == {
        "message": "Stopped unexpectedly (signal {signal}) at step {step}.",
        "values": {"signal": 9, "step": 13},
    }
    assert second.resumed_from_step == 10
    assert steps_of(run) == list(range(1, 21))


def test_a_run_that_always_dies_is_held(bench: Bench) -> None:
    bench.start_worker()
    run_id = bench.queue_run(steps=20, kill_at=3, always_kill=True)
    fill_devices()
    assert wait_for(run_id, RunState.HELD).attempt == 3


def test_a_cancelled_run_stops_and_keeps_its_points(bench: Bench) -> None:
    bench.start_worker()
    run = start_run(bench, steps=100_000)
    trainer = trainer_of(run)
    cancel(run)
    run = wait_for(run.id, RunState.CANCELLED)
    assert run.cause == Cause.CANCELLED
    assert not is_alive(trainer)
    assert steps_of(run)


def test_a_trainer_that_ignores_the_wish_is_killed(bench: Bench) -> None:
    bench.start_worker()
    run = start_run(bench, steps=100_000, deaf=True)
    trainer = trainer_of(run)
    cancel(run)
    wait_for(run.id, RunState.CANCELLED)
    assert not is_alive(trainer)


def test_a_worker_told_to_stop_gives_its_runs_back(bench: Bench) -> None:
    worker = bench.start_worker()
    run = start_run(bench, steps=400)
    assert worker.end(seconds=10) == 0
    run = run_of(run.id)
    assert (run.state, run.cause) == (RunState.QUEUED, Cause.DRAINED)
    bench.start_worker()
    fill_devices()
    run = wait_for(run.id, RunState.SUCCEEDED)
    assert run.attempt == 2
    assert steps_of(run) == list(range(1, 401))


def test_a_run_that_a_stopping_worker_had_not_started_goes_back_too(bench: Bench) -> None:
    worker = bench.start_worker()
    run_id = bench.queue_run()
    with transaction() as session:
        lifecycle.assign(session, run_id, "cpu", reason_of("Placed, and no bell rang."))
    assert worker.end() == 0
    assert run_of(run_id).state is RunState.QUEUED


def test_a_killed_workers_trainer_dies_and_its_run_goes_on(bench: Bench) -> None:
    worker = bench.start_worker()
    run = start_run(bench, steps=1000, checkpoint_every=1)
    trainer = trainer_of(run)
    worker.signal(signal.SIGKILL)
    worker.process.wait(timeout=10)
    bench.start_worker()
    assert not is_alive(trainer)
    fill_devices()
    wait_for(run.id, RunState.RUNNING, RunState.SUCCEEDED)
    assert attempts_of(run)[0].cause == Cause.LOST_WORKER


def test_a_forkserver_that_dies_takes_no_run_with_it(bench: Bench) -> None:
    worker = bench.start_worker()
    run = start_run(bench, steps=400)
    trainer_of(run).parent().kill()
    run = wait_for(run.id, RunState.SUCCEEDED)
    assert attempts_of(run)[0].cause == Cause.KILLED
    assert steps_of(run) == list(range(1, 401))
    assert worker.process.poll() is None


def test_the_housekeeper_finds_a_dead_worker_by_its_lease(bench: Bench) -> None:
    worker = bench.start_worker()
    run = start_run(bench, steps=100_000)
    worker.signal(signal.SIGKILL)
    keeper = start_process("tests.workers.keeper", log=bench.folder / "keeper.log")
    try:
        run = wait_for(run.id, RunState.QUEUED)
    finally:
        keeper.terminate()
        assert keeper.wait(timeout=10) == 0
    assert run.cause == Cause.LOST_WORKER
    assert run.reason is not None


def test_a_bell_that_was_lost_rings_again(bench: Bench) -> None:
    worker = bench.start_worker()
    run_id = bench.queue_run(steps=5)
    worker.signal(signal.SIGSTOP)  # it looks for its runs by itself, too, and might come first
    with transaction() as session:
        lifecycle.assign(session, run_id, "cpu", reason_of("Placed."))
    eventually(chores.ring_again, "nothing was rung for")
    worker.signal(signal.SIGCONT)
    wait_for(run_id, RunState.SUCCEEDED)


def test_a_second_worker_for_the_same_device_refuses(bench: Bench) -> None:
    first = bench.start_worker()
    second = start_process("tests.workers.scripted", "cpu", log=bench.folder / "second.log")
    assert second.wait(timeout=30) != 0
    told = (bench.folder / "second.log").read_text()
    assert f"A worker for cpu already runs on this machine (process {first.process.pid})" in told


@pytest.mark.parametrize("module", ["workers.main", "workers.device", "workers.housekeeper"])
def test_no_worker_process_loads_torch_or_the_web(module: str) -> None:
    heavy = {"torch", "transformers", "peft", "fastapi", "starlette", "jinja2"}
    code = f"import {module}, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_run_starts_while_the_broker_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_BROKER_URL", "redis://127.0.0.1:1/0")
    bench.start_worker()
    run_id = bench.queue_run(steps=5)
    with transaction() as session:
        lifecycle.assign(session, run_id, "cpu", reason_of("Placed, and no bell can ring."))
    assert wait_for(run_id, RunState.SUCCEEDED).attempt == 1


def test_a_worker_that_hears_nothing_starts_anew_when_it_is_idle(bench: Bench) -> None:
    worker = bench.start_worker()
    run = start_run(bench, steps=100_000)
    with transaction() as session:
        session.get_one(Device, "cpu").canary_sent += 2
    eventually(lambda: "deaf" in shown(), "nobody noticed")
    assert worker.process.poll() is None
    cancel(run)
    assert worker.process.wait(timeout=60) == START_AGAIN
    bench.start_worker()
    assert "deaf" not in shown()


def shown() -> str:
    with reading() as session:
        return status_of(session.get_one(Device, "cpu"), clock.now())


def test_a_canary_is_heard(bench: Bench) -> None:
    bench.start_worker()
    assert canaries.send_all() == 1

    def heard() -> bool:
        with reading() as session:
            found = session.get_one(Device, "cpu")
            return found.canary_sent == found.canary_heard == 1

    eventually(heard, "the canary was not heard")


def test_draining_a_device_sends_its_runs_back(bench: Bench) -> None:
    bench.start_worker()
    run = start_run(bench, steps=100_000)
    with transaction() as session:
        session.get_one(Device, "cpu").state = DeviceState.DRAINED
    run = wait_for(run.id, RunState.QUEUED)
    assert run.cause == Cause.DRAINED
    assert attempts_of(run)[0].device_seconds > 0


@on_both_databases
def test_two_workers_of_one_machine_share_the_work(bench: Bench) -> None:
    for name in ("left", "right"):
        bench.start_worker(name=name)
    runs = [bench.queue_run(steps=200) for _ in range(4)]
    fill_devices()
    done = [wait_for(run, RunState.SUCCEEDED) for run in runs]
    assert {run.device for run in done} == {"left", "right"}
    assert [run.attempt for run in done] == [1] * 4
    assert all(steps_of(run) == list(range(1, 201)) for run in done)
