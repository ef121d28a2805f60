"""Runs the programs that the setup needs, and turns their failures into sentences."""

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from setup.say import SetupFailed, SetupKilled, Step

PR_SET_PDEATHSIG = 1
# Opened here: between fork and exec nothing may be loaded any more.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
NO_NETWORK = (
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ConnectTimeout",
    "ProxyError",
)
NO_SPACE = ("No space left on device", "ENOSPC", "Disk quota exceeded")
# Settings of a person's shell that would send packages elsewhere than into the environment, or
# keep Python from storing what it has compiled, so that every start would compile it again.
FOREIGN = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_CONSTRAINT",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)


def run(
    step: Step,
    command: Sequence[str | Path],
    log: Path,
    note: Callable[[str], str] = str.strip,
    cwd: Path | None = None,
) -> None:
    """Runs a command with its output in `log` and the latest line beside the spinner."""
    tail: deque[str] = deque(maxlen=40)
    with log.open("a") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                file.write(line)
                tail.append(line)
                step.note = note(line)
    if process.returncode < 0:
        raise SetupKilled(
            f"{step.title} was ended by signal {-process.returncode} (is the memory full?). "
            "Start ./bunsen again; it makes anew what was half done."
        )
    if process.returncode != 0:
        raise SetupFailed(explain(step.title, process.returncode, "".join(tail), log))


def die_with_parent() -> None:
    """Between fork and exec: a process that was killed outright takes its children with it."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def explain(title: str, code: int, tail: str, log: Path) -> str:
    if any(sign in tail for sign in NO_SPACE):
        return f"{title} failed: the disk is full. Free some space and start ./bunsen again."
    if any(sign in tail for sign in NO_NETWORK):
        return (
            f"{title} failed: the package registry could not be reached. Check the network or the "
            "proxy settings of pip and npm, then start ./bunsen again; it goes on where it stopped."
        )
    last = "\n".join(f"    {line}" for line in tail.strip().splitlines()[-12:])
    return f"{title} failed (exit code {code}). The last lines of {log}:\n{last}"
