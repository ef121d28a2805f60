"""Memory in use and at its peak, on the device that trains."""

import gc
import sys
from pathlib import Path

import torch
from torch import nn

STATUS = Path("/proc/self/status")
CLEAR_PEAK = Path("/proc/self/clear_refs")


def allocated_bytes(device: str) -> int:
    """What tensors take on a GPU; on a CPU, what the process holds."""
    return torch.cuda.memory_allocated() if device == "cuda" else _status("VmRSS")


def peak_bytes(device: str) -> int:
    """The highest that `allocated_bytes` has been since `reset_peak`."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def reset_peak(device: str) -> None:
    """Start a new measurement: give back what is unused and forget the old peak."""
    release(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        CLEAR_PEAK.write_text("5", encoding="ascii")


def release(device: str) -> None:
    """Free what nothing refers to any more, so that one model at a time is in memory."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given; a clock means nothing before."""
    if device == "cuda":
        torch.cuda.synchronize()


def tensor_bytes(model: nn.Module, trainable: bool) -> int:
    """Bytes of the parameters that are trained, or of all others."""
    return sum(
        parameter.numel() * parameter.element_size()
        for parameter in model.parameters()
        if parameter.requires_grad is trainable
    )


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the optimizer's moments."""
    states = (value for state in optimizer.state.values() for value in state.values())
    return sum(value.numel() * value.element_size() for value in states if torch.is_tensor(value))


def _status(field: str) -> int:
    if sys.platform != "linux":
        return _resource_peak()
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _resource_peak() -> int:
    """Outside Linux only the peak of the whole process is known."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
