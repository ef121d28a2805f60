"""The doors between the rooms, held shut (ARCHITECTURE.md says what each room is for)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import ROOT

ROOMS = ("app", "workers", "labs", "setup")
OURS = {"app", "workers", "labs", "setup", "tests", "benchmarks"}
HEAVY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes"}
PAGES = {"fastapi", "starlette", "uvicorn", "jinja2"}

# A room, and what may not be imported anywhere in it.
SHUT = {
    "app": {"workers", "labs.trainer", "labs.common", *HEAVY},
    "workers": {*PAGES, *HEAVY, "labs.common"},
    "labs": {"app", "workers", "setup", "sqlalchemy", "celery", "kombu", *PAGES},
    "setup": OURS - {"setup", "app"},
}
# A file that is a door: what it alone may import, and why.
DOORS = {
    # A trainer that serves speaks HTTP to the web's proxy, in this one file.
    "labs/compression/serve/front.py": {"starlette", "uvicorn"},
    "labs/compression/serve/answering.py": {"jinja2"},  # a chat template's own refusal
    "app/cli.py": {"workers"},  # the command line starts the roles
    "app/lab_cli.py": {"labs.common"},  # `bunsen lab run` reads the shared parameters
}
# What a fresh process that starts so must not have loaded.
ABSENT = {
    "import app.main; app.main.create_app()": HEAVY | {"celery"},
    "import labs.registry; labs.registry.all_labs()": HEAVY | PAGES | {"sqlalchemy", "numpy"},
    "import workers.device": HEAVY | PAGES,
    "import workers.housekeeper": HEAVY | PAGES,
    "import labs.trainer": {"app", "workers", "sqlalchemy", "celery"},
    "import app.cli; app.cli.parser(with_labs=False)": HEAVY | PAGES | {"pydantic", "sqlalchemy"},
    "import setup.start": HEAVY | PAGES | {"app", "pydantic"},
}
LONGEST_FUNCTION, LONGEST_MODULE = 60, 400


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside of a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_below(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


@pytest.mark.parametrize(("room", "forbidden"), SHUT.items())
def test_arrows_point_one_way(room: str, forbidden: set[str]) -> None:
    crossed = []
    for path in sources(room):
        name = str(path.relative_to(ROOT))
        closed = forbidden - DOORS.get(name, set())
        crossed += [f"{name} imports {each}" for each in imported(path) if is_below(each, closed)]
    assert crossed == []


def test_the_setup_needs_nothing_but_python() -> None:
    allowed = sys.stdlib_module_names | {"setup", "app"}
    foreign = {
        f"{path.name} imports {name}"
        for path in sources("setup")
        for name in imported(path)
        if name.partition(".")[0] not in allowed
    }
    assert foreign == set()


@pytest.mark.parametrize(("start", "absent"), ABSENT.items())
def test_a_fresh_process_does_not_load(start: str, absent: set[str]) -> None:
    code = f"{start}; import sys; print(sorted({absent!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_only_the_settings_read_our_environment() -> None:
    """Passing the environment on to a child process is no reading of it."""
    readers = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("app", "workers")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("BUNSEN_")
        and " " not in node.value
        and path.name not in {"settings.py", "doctor.py", "up.py", "trainers.py"}
    ]
    assert readers == []


def test_functions_and_modules_stay_small() -> None:
    long = []
    for path in sources(*ROOMS):
        text = path.read_text()
        name = path.relative_to(ROOT)
        if len(text.splitlines()) > LONGEST_MODULE:
            long.append(f"{name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{name}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_no_committed_lock_names_a_registry() -> None:
    locks = [*(ROOT / "requirements").glob("*.txt"), ROOT / "package-lock.json", ROOT / ".npmrc"]
    assert [lock.name for lock in locks if "://" in lock.read_text()] == []
