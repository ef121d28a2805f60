"""The virtual environment: made from the lock files, known by a stamp, repaired when it was cut off."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from setup.commands import run
from setup.say import SetupFailed, SetupKilled, Step

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = ROOT / ".bunsen-unfinished"  # outside, since making an environment empties it
LOG = VENV / "bunsen-install.log"
REQUIREMENTS = ROOT / "requirements"
BASE, CUDA, CPU_TORCH = (REQUIREMENTS / f"{name}.txt" for name in ("base", "cuda", "torch-cpu"))
PIP = ["-m", "pip", "install", "--no-deps", "--require-hashes", "--progress-bar", "off"]
WHEELS_ONLY = ["--only-binary", ":all:", "--no-compile"]
PIP_INSTALL = [str(PYTHON), *PIP, *WHEELS_ONLY]
# What web, workers and trainers import. pip would compile 11,500 files, of which a third is used.
USED = (
    "torch, torch.utils.checkpoint, transformers, peft, accelerate, safetensors.torch",
    "transformers.models.llama.modeling_llama, transformers.models.qwen2.modeling_qwen2",
    "fastapi, uvicorn, jinja2, babel, pydantic_settings, pwdlib.hashers.argon2, markdown_it",
    "sqlalchemy.orm, sqlalchemy.dialects.sqlite, sqlalchemy.dialects.postgresql, psycopg",
    "alembic.command, celery.bin.worker, celery.concurrency.thread, kombu.transport.redis",
    "pyarrow.parquet",
)
CPU_BYTES, CUDA_BYTES = 3 * 1024**3, 10 * 1024**3


def key(*locks: Path) -> str:
    """What an environment was made from: the lock files, and the very Python behind it."""
    digest = hashlib.sha256(os.path.realpath(PYTHON).encode())
    for lock in locks:
        digest.update(b"\0" + lock.read_bytes())
    return digest.hexdigest()


def stamp(name: str) -> Path:
    return VENV / f"bunsen-{name}.stamp"


def is_current(name: str, *locks: Path) -> bool:
    try:
        return PYTHON.exists() and stamp(name).read_text() == key(*locks)
    except FileNotFoundError:
        return False


def mark_current(name: str, *locks: Path) -> None:
    fresh = stamp(name).with_suffix(".new")
    fresh.write_text(key(*locks))
    fresh.replace(stamp(name))


@contextmanager
def only_one_setup(folder: Path = ROOT) -> Iterator[None]:
    """Two first starts at once: the second waits for the first and finds everything done."""
    try:
        lock = (folder / ".bunsen.lock").open("w")
    except OSError as error:
        raise SetupFailed(
            f"The environment has to be made, and {folder} is not writable for you ({error.strerror}). "
            "Start ./bunsen once as the owner of that folder."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Step("Waiting for another ./bunsen that is making the environment"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make() -> None:
    """Installs everything of the base lock; what is there already is kept."""
    check_disk()
    make_venv()
    if not has_gpu():
        install_cpu_torch()
    install("base", BASE)
    if torch_wants_cuda():
        install("cuda", CUDA)
    with Step("Trying and compiling what was installed") as step:
        run(step, [PYTHON, "-W", "ignore", "-c", f"import {', '.join(USED)}"], LOG)


def check_disk() -> None:
    if not PYTHON.exists():
        require_space(ROOT, CUDA_BYTES if has_gpu() else CPU_BYTES)


def require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupFailed(
            f"The environment needs {needed / 1024**3:.0f} GiB and {folder} has {free / 1024**3:.1f} GiB "
            "free. Free some space, or put the project on a larger disk."
        )


def make_venv() -> None:
    if is_whole():
        return
    require_venv()
    with Step("Making the virtual environment .venv") as step:
        log = ROOT / ".bunsen.lock"
        UNFINISHED.touch()
        run(step, [sys.executable, "-m", "venv", "--clear", VENV], log)
        UNFINISHED.unlink()


def require_venv() -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupFailed(
            "This Python has no venv module. Install it (Debian and Ubuntu: "
            "apt-get install python3-venv) and start ./bunsen again."
        )


def is_whole() -> bool:
    """An environment whose installation was killed may hold half a package: it is made anew."""
    if not PYTHON.exists() or UNFINISHED.exists():
        return False
    probe = [str(PYTHON), "-c", "import pip"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None


def install_cpu_torch() -> None:
    """Takes the CPU build where pip is configured to find it: 3 GB less than the CUDA build.

    A failure here is no failure: the build of the public index comes with the base lock.
    """
    try:
        install("CPU build of torch, if pip knows one", CPU_TORCH)
    except SetupKilled:
        raise
    except SetupFailed:
        sys.stderr.write("  pip knows none here; the usual build is taken\n")


def install(name: str, lock: Path) -> None:
    """Installs one lock file. Hashes are checked, dependencies are not looked for, nothing is built."""
    UNFINISHED.touch()
    with Step(f"Installing {count_locked(lock)} locked packages: {name}") as step:
        try:
            run(step, [*PIP_INSTALL, "-r", str(lock)], LOG, pip_note())
        except SetupKilled:
            raise
        except SetupFailed:
            UNFINISHED.unlink()  # pip failed in good order: what it installed is whole
            raise
    UNFINISHED.unlink()


def count_locked(lock: Path) -> int:
    return sum(1 for line in lock.read_text().splitlines() if line[:1].isalnum())


def pip_note() -> Callable[[str], str]:
    """What stands beside the spinner while pip talks."""
    seen = Counter[str]()

    def note(line: str) -> str:
        seen[line.split(" ")[0]] += 1
        if seen["Installing"]:
            return "writing files"
        return f"{seen['Collecting'] + seen['Processing'] + seen['Requirement']} found"

    return note


def torch_wants_cuda(python: Path | None = None) -> bool:
    """Whether the torch that came is the CUDA build: its own metadata asks for NVIDIA's libraries."""
    code = (
        "import importlib.metadata as m; "
        "print(any(r.startswith(('nvidia-', 'cuda-')) for r in m.requires('torch') or []))"
    )
    done = subprocess.run(
        [python or PYTHON, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip() == "True"
