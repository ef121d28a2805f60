"""The GPUs of this machine that our torch can use."""

from dataclasses import dataclass
from importlib import metadata

CUDA_OF_TORCH = 13
DRIVER_FOR_CUDA = 580


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that a worker can own, or one sentence why there are none."""

    names: tuple[str, ...]
    problem: str = ""

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(f"cuda:{index}" for index in range(len(self.names)))


def find_gpus() -> Gpus:
    """Asks the driver, not torch: importing torch takes seconds and would open CUDA here."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus((), f"No NVIDIA driver answers here ({error}), so the CPU is used.")
    try:
        return _usable(pynvml.nvmlSystemGetCudaDriverVersion_v2() // 1000, _names())
    except pynvml.NVMLError as error:
        return Gpus((), f"The NVIDIA driver does not list its GPUs ({error}); restart the machine.")
    finally:
        pynvml.nvmlShutdown()


def _names() -> tuple[str, ...]:
    import pynvml

    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    return tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)


def _usable(driver_speaks: int, names: tuple[str, ...]) -> Gpus:
    if not names:
        return Gpus((), "The NVIDIA driver is here but lists no GPU, so the CPU is used.")
    if driver_speaks < CUDA_OF_TORCH:
        return Gpus(
            (),
            f"The NVIDIA driver speaks CUDA {driver_speaks}, torch needs CUDA {CUDA_OF_TORCH}: "
            f"update the driver to {DRIVER_FOR_CUDA} or newer. Until then the CPU is used.",
        )
    if not torch_is_cuda_build():
        return Gpus(
            (),
            f"{names[0]} is here, but the installed torch is a CPU build: delete the folder .venv "
            "and start ./bunsen again. Until then the CPU is used.",
        )
    return Gpus(names)


def torch_is_cuda_build() -> bool:
    """By the metadata of the installed package: the CUDA build asks for NVIDIA's libraries."""
    required = metadata.requires("torch") or []
    return any(name.startswith(("nvidia-", "cuda-")) for name in required)
