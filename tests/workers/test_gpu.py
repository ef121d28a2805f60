"""A GPU as the driver tells of it, on a machine without one."""

# ruff: noqa: N802, N815  the names are NVIDIA's

import sys
import types
from typing import Any

import pytest

from app.errors import MissingHere
from app.i18n import sentence
from workers import hardware


class FakeNvml(types.ModuleType):
    """NVIDIA's library as far as a worker asks it, on a machine without a GPU."""

    class NVMLError(Exception):
        """What the library raises."""

        def __init__(self, told: str, value: int = 999) -> None:
            super().__init__(told)
            self.value = value

    NVML_ERROR_TIMEOUT, NVML_ERROR_GPU_IS_LOST = 10, 15
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC = 1, 0
    nvmlEventTypeXidCriticalError = 8

    def __init__(self, gpus: int) -> None:
        super().__init__("pynvml")
        self.gpus = gpus
        self.xids: list[int] = []
        self.errors = 2
        self.is_lost = False
        self.tells_of_faults = True

    def nvmlEventSetCreate(self) -> object:
        if not self.tells_of_faults:
            raise self.NVMLError("Not Supported")
        return object()

    def nvmlDeviceRegisterEvents(self, handle: int, kinds: int, events: object) -> None:
        assert kinds == self.nvmlEventTypeXidCriticalError

    def nvmlEventSetWait_v2(self, events: object, milliseconds: int) -> Any:
        if not self.xids:
            raise self.NVMLError("Timeout", self.NVML_ERROR_TIMEOUT)
        return types.SimpleNamespace(eventData=self.xids.pop(0))

    def nvmlDeviceGetTotalEccErrors(self, handle: int, kind: int, counter: int) -> int:
        if self.is_lost:
            raise self.NVMLError("GPU is lost", self.NVML_ERROR_GPU_IS_LOST)
        if not self.tells_of_faults:
            raise self.NVMLError("Not Supported")
        return self.errors

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
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml(gpus=1)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


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


def test_a_healthy_gpu_has_no_fault() -> None:
    assert hardware.find("cuda:0").fault() is None


def test_errors_from_before_the_worker_are_old_news(nvml: FakeNvml) -> None:
    gpu = hardware.find("cuda:0")
    nvml.errors = 5
    fault = gpu.fault()
    assert fault is not None
    assert sentence(fault["message"], fault["values"]) == "Uncorrected memory errors (ECC): 3."
    assert fault["action"] == "Reset the GPU."
    assert gpu.fault() is None


def test_a_gpu_that_fell_off_the_bus_is_named_by_its_xid(nvml: FakeNvml) -> None:
    gpu = hardware.find("cuda:0")
    nvml.xids = [79]
    fault = gpu.fault()
    assert fault is not None
    assert sentence(fault["message"], fault["values"]) == "Xid 79: the GPU has fallen off the bus."
    assert fault["action"].startswith("Restart the machine")
    assert fault["link"].startswith("https://docs.nvidia.com/")


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 94])
def test_what_a_program_can_cause_takes_no_gpu_out_of_service(nvml: FakeNvml, xid: int) -> None:
    gpu = hardware.find("cuda:0")
    nvml.xids = [xid]
    assert gpu.fault() is None
    assert nvml.xids == []


def test_a_lost_gpu_is_a_fault(nvml: FakeNvml) -> None:
    gpu = hardware.find("cuda:0")
    nvml.is_lost = True
    fault = gpu.fault()
    assert fault is not None
    assert fault["message"] == "The driver has lost the GPU."


def test_a_gpu_that_tells_of_no_faults_is_used_all_the_same(nvml: FakeNvml) -> None:
    nvml.tells_of_faults = False
    assert hardware.find("cuda:0").fault() is None
