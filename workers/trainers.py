"""Trainer processes: forked from a forkserver that has torch imported. No torch in here.

The forkserver imports and never computes; if it dies, its children die with it, and it dies
with this process. A trainer starts 16 ms after `start`, the first one after the imports.
"""

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

import labs.trainer
from app.settings import ROOT
from workers.memory import end_family

Train = Callable[[str], None]

# One lock for everything that polls children: two threads that read the end of the same
# process at once would turn its exit code into 255.
_children = threading.Lock()
# What multiprocessing says of a child whose forkserver died; the child died with it.
FORKSERVER_GONE = 255
SECRETS = ("BUNSEN_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "AWS_", "PG")
SECRET_PARTS = ("PASSWORD", "SECRET", "TOKEN", "CREDENTIAL", "API_KEY")


def scrub(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a trainer must not know."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(SECRETS) and not any(part in name.upper() for part in SECRET_PARTS)
    }


def trainer_environment(visible: str, threads: int, online: bool) -> dict[str, str]:
    """What every trainer of this device must find in its environment before torch is loaded."""
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": visible,
        # Two trainers whose threads spin on two cores were 66 times slower.
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "0" if online else "1",
        "PYTHONPATH": str(ROOT),
    }


class Trainer:
    """One trainer process and its group."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most so long; returns whether it has ended."""
        return bool(wait([self._process.sentinel], timeout=seconds))

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group; one that is gone needs none."""
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:  # it has not made its own group yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and all that it started."""
        if not self.wait(0):  # afterwards its number may be another's
            end_family(self.pid)
        self.signal(signal.SIGKILL)

    def end(self, patience: float) -> int | None:
        """Kill what is left of it; its exit code, negative for a signal.

        None if it is still there after so many seconds: the kernel does not let it go.
        """
        self.kill()
        if not self.wait(patience):
            return None
        with _children:
            self._process.join()
        code = self._process.exitcode
        assert code is not None, f"trainer {self.pid} was joined and has no exit code"
        # What it may have started dies too, even what ignored its parent's end.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return -signal.SIGKILL if code == FORKSERVER_GONE else code


class Forge:
    """Makes trainers. Create it once, before anything else starts threads or reads secrets."""

    def __init__(
        self,
        environment: Mapping[str, str],
        train: Train = labs.trainer.main,
        preload: Sequence[str] = labs.trainer.PRELOAD,
    ) -> None:
        kept = {**scrub(os.environ), **environment}
        os.environ.clear()
        os.environ.update(kept)
        # Children would otherwise import our command line as their main module.
        sys.modules["__main__"] = types.ModuleType("__main__")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._train = train

    def warm(self) -> None:
        """Start the forkserver and wait until it has imported everything."""
        with _children:
            process = self._context.Process(target=os.getpid)
            process.start()
        process.join()
        assert process.exitcode == 0, (
            f"the forkserver's first child ended with {process.exitcode}: is torch installed?"
        )

    def start(self, run_dir: Path) -> Trainer:
        """Start the trainer of a run directory."""
        with _children:
            process = self._context.Process(target=self._train, args=(str(run_dir),))
            process.start()
        return Trainer(process)
