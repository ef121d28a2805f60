"""A GPU as the driver tells of it, on a machine without one."""

# ruff: noqa: N802  the names are NVIDIA's

import sys
import types
from typing import Any

import pytest

from app.errors import MissingHere
from workers import hardware


class FakeNvml(types.ModuleType):
    """NVIDIA's library as far as a worker asks it, on a machine without a GPU."""

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self, gpus: int) -> None:
        super().__init__("pynvml")
        self.gpus = gpus

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        if number >= self.gpus:
            raise self.NVMLError("Invalid Argument")
        return number

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H100"

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return types.SimpleNamespace(total=80 << 30, used=3 << 30)

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return types.SimpleNamespace(gpu=75)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 41

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        raise self.NVMLError("Not Supported")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=pid << 20) for pid in (1, 2, 3)]


@pytest.fixture(autouse=True)
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpus=1))


def test_a_gpu_is_known_by_its_uuid() -> None:
    gpu = hardware.find("cuda:0")
    assert (gpu.kind, gpu.visible, gpu.memory_bytes) == ("cuda", "GPU-0", 80 << 30)
    assert gpu.facts()["compute_capability"] == [9, 0]


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    assert hardware.find("cuda:0").telemetry() == {
        "use_fraction": 0.75,
        "memory_used_bytes": 3 << 30,
        "memory_total_bytes": 80 << 30,
        "temperature_celsius": 41,
    }


def test_only_the_runs_own_processes_count() -> None:
    gpu = hardware.find("cuda:0")
    assert gpu.process_bytes([1, 3, 99]) == 4 << 20
    assert gpu.process_bytes([99]) is None


def test_a_gpu_that_is_not_here_is_missing() -> None:
    with pytest.raises(MissingHere, match="cuda:1 cannot be used: Invalid Argument"):
        hardware.find("cuda:1")
