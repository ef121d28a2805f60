"""One attempt under a supervisor: what it may take, when it must stop, and what does not die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psutil
import pytest
from sqlalchemy import select

from app import clock
from app.database import reading, transaction
from app.devices import queries as devices
from app.errors import Conflict
from app.models import Attempt, AuditEntry, Device, DeviceState, Role, Run, RunState
from app.runs import lifecycle
from app.runs.reasons import reason_of
from app.settings import get_settings
from labs.contract import Cause
from tests.support.factories import make_device, make_run, make_user
from tests.workers.conftest import eventually, run_of, wait_for
from workers import hardware, memory, orphans, pressure, supervise, undead
from workers.duty import Duty
from workers.output import OutputCap
from workers.supervise import Bench, carry_out
from workers.trainers import Forge, Trainer

WAIT = "import time; time.sleep(600)"


class Process:
    """A trainer that is any program; a test may let it lie about its death."""

    def __init__(self, program: str, immortal: bool = False) -> None:
        self.child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
        self.pid = self.child.pid
        self.immortal = immortal
        self.signals: list[signal.Signals] = []

    def wait(self, seconds: float) -> bool:
        try:
            self.child.wait(seconds or 0.01)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if not self.immortal and self.child.poll() is None:
            os.killpg(self.pid, number)

    def kill(self) -> None:
        if not self.immortal:
            memory.end_family(self.pid)
        self.signals.append(signal.SIGKILL)

    def end(self, patience: float) -> int | None:
        self.kill()
        return self.child.returncode if self.wait(patience) else None


class OneTrainer:
    """A forge that makes one kind of process and remembers what it made."""

    def __init__(self, program: str = WAIT, immortal: bool = False) -> None:
        self.program, self.immortal = program, immortal
        self.made: list[Process] = []

    def start(self, run_dir: Path) -> Trainer:
        self.made.append(Process(self.program, self.immortal))
        return cast("Trainer", self.made[-1])


@pytest.fixture
def forge(database_url: str) -> Iterator[OneTrainer]:
    made = OneTrainer()
    yield made
    for process in made.made:
        process.child.kill()
        process.child.wait(10)
    for thread in threading.enumerate():
        if thread.name == "undead":  # it tells the end of its process to this test's database
            thread.join(10)


@pytest.fixture
def bench(database_url: str, forge: OneTrainer, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(supervise, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(supervise, "fill_devices", lambda: None)
    monkeypatch.setattr(undead, "LOOK_SECONDS", 0.02)
    with transaction() as session:
        make_device(session, heartbeat_at=clock.now())
    return Bench("cpu", hardware.Cpu(), cast("Forge", forge), Duty(), death_patience=0.2)


def assigned(memory_bytes: int = 1 << 30) -> UUID:
    with transaction() as session:
        run = make_run(session, estimate={"memory_bytes": memory_bytes})
        get_settings().run_dir(run.id).mkdir(parents=True)
        lifecycle.assign(session, run.id, "cpu", reason_of("Placed."))
        return run.id


def carry(bench: Bench, run_id: UUID | None = None) -> tuple[Run, Attempt]:
    """Carry a run out to its end; returns it and its first attempt."""
    run_id = run_id or assigned()
    carry_out(bench, run_id, 1)
    with reading() as session:
        return session.get_one(Run, run_id), session.get_one(Attempt, (run_id, 1))


def device() -> Device:
    with reading() as session:
        return session.get_one(Device, "cpu")


def set_state(state: DeviceState) -> Device:
    with transaction() as session:
        admin = make_user(session, role=Role.ADMIN)
        return devices.set_state(session, admin, "cpu", state)


class TestOrders:
    def test_a_drained_devices_runs_go_back(self, bench: Bench, forge: OneTrainer) -> None:
        class Drained(Duty):
            is_drained = True

        drained = Bench("cpu", bench.hardware, bench.forge, Drained())
        run, attempt = carry(drained)
        assert (run.state, run.cause) == (RunState.QUEUED, Cause.DRAINED)
        assert attempt.outcome == "requeued"
        assert forge.made[0].signals[0] is signal.SIGTERM

    @pytest.mark.parametrize("state", [DeviceState.PAUSED, DeviceState.DRAINED])
    def test_nothing_starts_on_a_device_out_of_service(
        self, bench: Bench, forge: OneTrainer, state: DeviceState
    ) -> None:
        run_id = assigned()
        set_state(state)
        run, attempt = carry(bench, run_id)
        assert (run.state, forge.made) == (RunState.QUEUED, [])
        assert attempt.started_at is None

    def test_a_paused_devices_runs_go_on(self, bench: Bench, forge: OneTrainer) -> None:
        bench.duty.state = DeviceState.PAUSED
        forge.program = "pass"
        run, _attempt = carry(bench)
        assert run.cause == Cause.LAB_CRASHED  # it came to its own end, which says nothing

    def test_a_broken_devices_runs_go_back_uncounted(self, bench: Bench) -> None:
        class Breaking(hardware.Cpu):
            def fault(self) -> dict[str, Any] | None:
                return reason_of("Xid 79.")

        run_id = assigned()
        bench.duty.examine(Breaking())
        with transaction() as session:
            lifecycle.claim(session, run_id, 1, "cpu")
        task = supervise.Task(
            run_id, 1, get_settings().run_dir(run_id), 0, cast("Any", _spec(run_id))
        )
        supervise.Supervisor(bench, task).supervise()
        run = run_of(run_id)
        assert (run.state, run.cause) == (RunState.QUEUED, Cause.HARDWARE_FAULT)

    def test_a_crash_that_the_hardware_made_is_the_hardwares(
        self, bench: Bench, forge: OneTrainer
    ) -> None:
        class Broken(hardware.Cpu):
            def fault(self) -> dict[str, Any] | None:
                return reason_of("The driver has lost the GPU.")

        forge.program = "raise SystemExit(1)"
        run, attempt = carry(Bench("cpu", Broken(), bench.forge, Duty()))
        assert (run.state, run.cause) == (RunState.QUEUED, Cause.HARDWARE_FAULT)
        assert attempt.cause == Cause.HARDWARE_FAULT


def _spec(run_id: UUID) -> Any:
    from workers.task import _spec as made

    with reading() as session:
        run = session.get_one(Run, run_id)
        session.refresh(run, ["base_model", "dataset"])
        return made(session, run, "cpu")


class TestLimits:
    def test_who_takes_more_memory_than_was_kept_fails_alone(
        self, bench: Bench, forge: OneTrainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "LEAST_LIMIT", 16 << 20)
        forge.program = f"held = b'1' * (64 << 20); {WAIT}"
        run, attempt = carry(bench, assigned(memory_bytes=32 << 20))
        assert (run.state, run.cause) == (RunState.FAILED, Cause.HOST_OUT_OF_MEMORY)
        assert run.reason is not None
        assert run.reason["message"] == "Used {used}, had {limit}."
        assert run.reason["values"]["limit"] == "0.0 GiB"
        assert attempt.peak_memory_bytes is not None
        assert attempt.peak_memory_bytes > 32 << 20

    def test_a_run_within_its_memory_goes_on(self, bench: Bench, forge: OneTrainer) -> None:
        forge.program = "pass"
        run, _attempt = carry(bench)
        assert run.cause != Cause.HOST_OUT_OF_MEMORY

    def test_too_many_threads_end_a_run(
        self, bench: Bench, forge: OneTrainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "MOST_TASKS", 20)
        forge.program = (
            "import threading, time\n"
            "for _ in range(30): threading.Thread(target=time.sleep, args=(600,)).start()"
        )
        run, _attempt = carry(bench)
        assert (run.state, run.cause) == (RunState.FAILED, Cause.TOO_MANY_PROCESSES)
        assert run.reason is not None
        assert run.reason["values"]["count"] > 20

    def test_what_left_the_group_is_ended_too(
        self, bench: Bench, forge: OneTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "MOST_TASKS", 1)
        told = tmp_path / "pid"
        forge.program = (
            "import subprocess, sys, time, pathlib\n"
            f"p = subprocess.Popen([sys.executable, '-c', {WAIT!r}], start_new_session=True)\n"
            f"pathlib.Path({str(told)!r}).write_text(str(p.pid)); time.sleep(600)"
        )
        run, _attempt = carry(bench)
        assert run.cause == Cause.TOO_MANY_PROCESSES
        if told.exists():
            eventually(lambda: not _runs(int(told.read_text())), "it is still there")

    def test_time_is_counted_by_a_clock_that_nobody_sets(
        self, bench: Bench, forge: OneTrainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        forge.program = "pass"
        run_id = assigned()
        now, jumps = clock.now(), iter(range(10_000))
        later: Callable[[], Any] = lambda: now.replace(year=now.year + next(jumps) % 7)  # noqa: E731
        monkeypatch.setattr(clock, "now", later)
        began = time.monotonic()
        _run, attempt = carry(bench, run_id)
        assert 0 < attempt.device_seconds <= time.monotonic() - began


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class TestDisk:
    @pytest.fixture
    def room(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The share of the wanted room that is free."""
        share = [2.0]
        monkeypatch.setattr(pressure, "_room", lambda: share[0])
        return share

    def test_nothing_starts_when_the_disk_is_nearly_full(
        self, bench: Bench, forge: OneTrainer, room: list[float]
    ) -> None:
        room[0] = 0.9
        run, _attempt = carry(bench)
        assert (run.state, run.cause) == (RunState.HELD, Cause.DISK_FULL)
        assert forge.made == []

    def test_what_runs_saves_and_waits_when_it_gets_worse(
        self, bench: Bench, forge: OneTrainer, room: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shares = iter([1.0])
        monkeypatch.setattr(pressure, "_room", lambda: next(shares, 0.4))
        run, attempt = carry(bench)
        assert (run.state, run.cause) == (RunState.HELD, Cause.DISK_FULL)
        assert (attempt.outcome, forge.made[0].signals[0]) == ("held", signal.SIGTERM)

    def test_held_runs_go_on_when_there_is_room_again(
        self, bench: Bench, room: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room[0] = 0.9
        run, _attempt = carry(bench)
        monkeypatch.setattr(pressure, "FIRST_WAIT", pressure.FIRST_WAIT * 0)
        assert pressure.resume_held() == 0
        room[0] = 1.05
        assert pressure.resume_held() == 0
        room[0] = 1.2
        assert pressure.resume_held() == 1
        assert run_of(run.id).state is RunState.QUEUED

    def test_a_run_that_found_it_full_just_now_waits_a_little(
        self, bench: Bench, room: list[float]
    ) -> None:
        room[0] = 0.9
        carry(bench)
        room[0] = 1.2
        assert pressure.resume_held() == 0


class TestOutput:
    def test_a_flood_keeps_its_first_and_its_last_part(self, tmp_path: Path) -> None:
        log = tmp_path / "output.log"
        log.write_bytes(b"an earlier attempt\n")
        cap = OutputCap(tmp_path, most=1000, kept=100)
        written = b""
        with log.open("ab", buffering=0) as trainer:
            for number in range(500):
                line = f"line {number:04d}\n".encode()
                trainer.write(line)
                written += line
                cap.hold()
                assert log.stat().st_size < 19 + 1000 + 100 + len(line)
        content = log.read_bytes()
        assert content.startswith(b"an earlier attempt\n" + written[:100])
        assert content.endswith(b"line 0499\n")
        mark = content.count(b"bytes of output left out")
        assert mark == 1
        left_out = int(content.partition("[… ".encode())[2].split()[0])
        shown = content.replace(f"\n[… {left_out} bytes of output left out …]\n".encode(), b"")
        assert len(shown) + left_out == 19 + len(written)

    def test_a_log_of_usual_length_is_left_alone(self, tmp_path: Path) -> None:
        log = tmp_path / "output.log"
        cap = OutputCap(tmp_path, most=1000, kept=100)
        log.write_bytes(b"1" * 1000)
        cap.hold()
        assert log.read_bytes() == b"1" * 1000


class TestUndead:
    """A process that stays after SIGKILL. Here it lies; in life a driver holds it."""

    @pytest.fixture
    def haunted(self, bench: Bench, forge: OneTrainer) -> tuple[Run, Process]:
        forge.immortal = True
        run_id = assigned()
        with transaction() as session:
            run = session.get_one(Run, run_id)
            run.cancel_requested_at = clock.now()
        short = Bench("cpu", bench.hardware, bench.forge, bench.duty, death_patience=0.1)
        get_settings.cache_clear()
        run, _attempt = carry(short, run_id)
        return run, forge.made[0]

    @pytest.fixture(autouse=True)
    def no_grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUNSEN_STOP_GRACE", "PT0.1S")
        get_settings.cache_clear()

    def test_its_run_has_an_end_all_the_same(self, haunted: tuple[Run, Process]) -> None:
        assert haunted[0].state is RunState.CANCELLED

    def test_its_device_is_drained_by_itself(self, haunted: tuple[Run, Process]) -> None:
        found = device()
        assert found.state is DeviceState.DRAINED
        assert found.fault is not None
        assert found.fault["values"] == {"pid": haunted[1].pid}
        with reading() as session:
            entry = session.scalars(select(AuditEntry)).one()
        assert (entry.action, entry.actor_id) == ("device_fault", None)

    def test_nothing_starts_beside_it(
        self, haunted: tuple[Run, Process], bench: Bench, forge: OneTrainer
    ) -> None:
        run, _attempt = carry(bench)
        assert run.state is RunState.QUEUED
        assert len(forge.made) == 1

    def test_nobody_can_resume_the_device_before_it_is_gone(
        self, haunted: tuple[Run, Process]
    ) -> None:
        with pytest.raises(Conflict, match="does not end"):
            set_state(DeviceState.ACTIVE)
        haunted[1].child.kill()
        haunted[1].child.wait(10)
        eventually(lambda: "gone" in (device().fault or {})["message"], "its end was not told")
        assert device().state is DeviceState.DRAINED
        assert set_state(DeviceState.ACTIVE).fault is None

    def test_a_new_worker_goes_on_watching(
        self, haunted: tuple[Run, Process], bench: Bench
    ) -> None:
        duty = Duty()
        undead.take_up(duty, "cpu")
        assert not duty.takes_runs
        assert duty.untold_fault is None

    def test_a_trainer_of_an_earlier_attempt_is_ended_first(
        self, bench: Bench, forge: OneTrainer
    ) -> None:
        forge.program = "pass"
        run_id = assigned()
        zombie = Process(WAIT)
        orphans.note(get_settings().run_dir(run_id), zombie.pid)
        carry(bench, run_id)
        zombie.child.wait(10)
        assert not psutil.pid_exists(zombie.pid)
        assert len(forge.made) == 1


def test_a_run_of_a_machine_that_was_restarted_says_so(bench: Bench) -> None:
    run_id = assigned()
    with transaction() as session:
        lifecycle.claim(session, run_id, 1, "cpu")
    orphans.sweep("cpu", host_restarted=True)
    run = wait_for(run_id, RunState.QUEUED)
    assert run.cause == Cause.HOST_RESTARTED
