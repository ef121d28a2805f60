"""The device that a worker owns: what it is, and how busy it is now. Imports no torch."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import psutil

from app.errors import MissingHere
from workers.faults import FaultWatch

Json = dict[str, Any]
GPU = "cuda"


class Hardware(Protocol):
    """One device: what it is, and what can be read from it at any time."""

    kind: str
    title: str
    memory_bytes: int
    visible: str

    def facts(self) -> Json:
        """What does not change while the worker lives."""

    def telemetry(self) -> Json:
        """Use, memory, temperature and power now; a key is absent where nothing can be read."""

    def process_bytes(self, pids: Iterable[int]) -> int | None:
        """Memory of the device that these processes hold, if the device says so."""

    def fault(self) -> Json | None:
        """What is wrong with the device, as a sentence for an admin; None if nothing is known."""


@dataclass(slots=True)
class Cpu:
    """The machine's cores and main memory."""

    kind: str = "cpu"
    title: str = field(default_factory=lambda: _cpu_title())
    memory_bytes: int = field(default_factory=lambda: _host_memory())
    visible: str = ""

    def facts(self) -> Json:
        return {"cores": cores()}

    def telemetry(self) -> Json:
        memory = psutil.virtual_memory()
        return {
            "use_fraction": psutil.cpu_percent() / 100,
            "memory_used_bytes": memory.total - memory.available,
            "memory_total_bytes": memory.total,
        }

    def process_bytes(self, pids: Iterable[int]) -> int | None:
        return None

    def fault(self) -> Json | None:
        return None


class Cuda:
    """One NVIDIA GPU, found by its number and then known by its UUID."""

    kind = GPU

    def __init__(self, number: int) -> None:
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            self.title = str(pynvml.nvmlDeviceGetName(self._handle))
            self.visible = str(pynvml.nvmlDeviceGetUUID(self._handle))
            self.memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).total)
        except pynvml.NVMLError as error:
            raise MissingHere(
                "The GPU cuda:{number} cannot be used: {reason}.", number=number, reason=error
            ) from error
        self._watch = FaultWatch(pynvml, self._handle)

    def facts(self) -> Json:
        capability = self._ask("nvmlDeviceGetCudaComputeCapability")
        return {
            "cores": cores(),
            "uuid": self.visible,
            "compute_capability": list(capability) if capability else None,
        }

    def telemetry(self) -> Json:
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        use = self._ask("nvmlDeviceGetUtilizationRates")
        power = self._ask("nvmlDeviceGetPowerUsage")
        read = {
            "use_fraction": use.gpu / 100 if use else None,
            "memory_used_bytes": int(memory.used) if memory else None,
            "memory_total_bytes": int(memory.total) if memory else None,
            "temperature_celsius": self._ask("nvmlDeviceGetTemperature", 0),
            "power_watts": power / 1000 if power is not None else None,
        }
        return {key: value for key, value in read.items() if value is not None}

    def process_bytes(self, pids: Iterable[int]) -> int | None:
        wanted = set(pids)
        listed = self._ask("nvmlDeviceGetComputeRunningProcesses") or []
        found = [int(each.usedGpuMemory or 0) for each in listed if each.pid in wanted]
        return sum(found) if found else None

    def fault(self) -> Json | None:
        return self._watch.look()

    def _ask(self, question: str, *arguments: Any) -> Any:
        """One reading; None where this GPU or driver does not offer it."""
        try:
            return getattr(self._nvml, question)(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None


def find(device_name: str) -> Hardware:
    """The device of that name: `cpu` or `cuda:N`."""
    kind, _, number = device_name.partition(":")
    return Cuda(int(number)) if kind == GPU else Cpu()


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


@cache
def boot_id() -> str:
    """Changes whenever the machine starts, so that a process number is never believed too long."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else str(int(psutil.boot_time()))


def _cpu_title() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({cores()} cores)"[:120]


def _host_memory() -> int:
    """What runs may use: the memory of the machine, or of the container we are in."""
    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else ""
    return min(total, int(text)) if text.isdigit() else total
