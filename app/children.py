"""Child processes that do not outlive us: started, logged, restarted and stopped together."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from setup.commands import LIBC, die_with_parent

PR_SET_CHILD_SUBREAPER = 36
STEADY_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0
LAST_SECONDS = 5.0
LOG_BYTES = 16 * 1024**2
TICK_SECONDS = 0.05
BROKER = "broker"
# Ends with this code whoever only wants to be started anew, at once (sysexits' EX_TEMPFAIL).
START_AGAIN = 75


def adopt_orphans() -> None:
    """Makes this process the parent of what its children leave behind, so that it can end that too."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass
class Child:
    """One role as a process in its own group, with its log."""

    role: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    after_quick_death: Callable[[], None] | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    log_start: int = 0
    quick_deaths: int = 0
    due: float = field(default=0.0)

    def start(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self.log_start = output.tell()
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def code(self) -> int | None:
        """The exit code, None while it lives."""
        return self.process.poll() if self.process else None

    def signal(self, number: int) -> None:
        """To the whole group: it also reaches what the role has started in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def collect(self) -> None:
        """Waits for the end of a process that was killed."""
        if self.process:
            self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines that it wrote since its start."""
        with self.log.open("rb") as file:
            file.seek(max(self.log_start, self.log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def plan_restart(self) -> float:
        """Seconds until the next start: soon after a long life, later after each short one."""
        lived = time.monotonic() - self.started
        self.quick_deaths = 0 if lived > STEADY_SECONDS else self.quick_deaths + 1
        if self.quick_deaths > 1 and self.after_quick_death:
            self.after_quick_death()
        pause = min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0 ** max(0, self.quick_deaths - 1))
        self.due = time.monotonic() + pause
        return pause


class Children:
    """All of them. Leaving the `with` block leaves no process behind."""

    def __init__(self, say: Callable[[str], None], grace_seconds: float = 10.0) -> None:
        self.all: list[Child] = []
        self.grace_seconds = grace_seconds
        self.stop_requests = 0
        self._say = say
        self._broken: set[str] = set()
        self._elders: set[int] = set()

    def __enter__(self) -> "Children":
        adopt_orphans()
        self._elders = {process.pid for process in psutil.Process().children()}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_requests += 1

    def start(self, child: Child) -> None:
        self.all.append(child)
        child.start()

    def dead(self) -> list[Child]:
        return [child for child in self.all if child.process and child.code is not None]

    def watch(self) -> None:
        """Restarts whoever dies, until a signal asks to stop."""
        while not self.stop_requests:
            self.restart_dead()
            reap_orphans({child.pid for child in self.all})
            time.sleep(TICK_SECONDS)

    def restart_dead(self) -> None:
        """Start again, each in its time, what has ended."""
        for child in self.dead():
            self._restart(child)

    def _restart(self, child: Child) -> None:
        if child.code == START_AGAIN:
            self._say(f"{child.role} starts anew. Its log: {child.log}")
            child.start()
        elif child.role not in self._broken:
            self._broken.add(child.role)
            pause = child.plan_restart()
            self._say(
                f"{child.role} ended ({describe(child.code)}); it starts again in {pause:.1f} s. "
                f"Its log: {child.log}"
            )
        elif time.monotonic() >= child.due:
            self._broken.discard(child.role)
            child.start()

    def stop(self) -> None:
        """Asks all to stop, the broker last; kills whoever has not in time, and what they left."""
        broker = [child for child in self.all if child.role == BROKER]
        others = [child for child in self.all if child.role != BROKER]
        for group in (others, broker):
            for child in group:
                child.signal(signal.SIGTERM)
            self._wait(group, self.grace_seconds)
            for child in group:
                child.signal(signal.SIGKILL)
                child.collect()
        end_descendants(self._elders)

    def _wait(self, group: Sequence[Child], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(child.process and child.code is None for child in group):
            if time.monotonic() > deadline or self.stop_requests > 1:
                return
            time.sleep(TICK_SECONDS)


def describe(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def reap_orphans(own: set[int]) -> None:
    """Collects ended processes that became ours when their parent died; our children are polled."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)


def end_descendants(spared: set[int]) -> None:
    """Kills what is still below us, in whatever group it is, and waits until it is gone.

    It looks again until nothing is found: a process whose parent just died is, for a moment,
    nobody's child.
    """
    deadline = time.monotonic() + LAST_SECONDS
    while (left := _descendants(spared)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


def _descendants(spared: set[int]) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children():
        if process.pid not in spared:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [process, *process.children(recursive=True)]
    return found
