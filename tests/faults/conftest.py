"""The box of the matrix, kept from cell to cell, and the tables at the end."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app import broker, database
from app.database import make_engine
from app.migrate import upgrade
from app.settings import get_settings
from tests.faults.box import Box
from tests.faults.cells import EVERYDAY, Cell
from tests.faults.servers import PostgresServer
from tests.faults.table import Result, matrix_lines, proof_lines

RESULTS = pytest.StashKey[dict[Cell, Result]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything where `-m` speaks of faults or a test is named; else a part of it."""
    config.stash[RESULTS] = {}
    if _whole_matrix(config) or any("::" in word for word in config.args):
        return
    left_out = [item for item in items if not _is_everyday(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_everyday(item: pytest.Item) -> bool:
    cell = _cell(item)
    if cell is not None:
        return cell in EVERYDAY
    return all(mark.kwargs.get("everyday", True) for mark in item.iter_markers("faults"))


def _whole_matrix(config: pytest.Config) -> bool:
    return "faults" in config.getoption("markexpr")


def _cell(item: pytest.Item) -> Cell | None:
    """The cell of the matrix that a test is, if it is one."""
    found = (
        item.callspec.params.get("cell")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )
    return found if isinstance(found, Cell) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cell = _cell(item)
    if cell is not None and (report.when == "call" or report.failed):
        item.config.stash[RESULTS][cell] = Result(report.passed, report.duration)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    results = config.stash.get(RESULTS, {})
    if results and _whole_matrix(config):
        terminalreporter.section("The fault matrix")
        for line in matrix_lines(results):
            terminalreporter.write_line(line)
        terminalreporter.section("What is proven where")
        for line in proof_lines():
            terminalreporter.write_line(line)


class Boxes:
    """One box for each database, made when the first cell asks for it; a failed cell ends it."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._made = 0
        self._postgres: PostgresServer | None = None
        self.boxes: dict[tuple[str, str], Box] = {}

    def get(self, database_name: str, trainer: str) -> Box:
        key = (database_name, trainer)
        if key not in self.boxes:
            self._made += 1
            home = self._scratch / f"box{self._made}"
            home.mkdir()
            self.boxes[key] = self._make(home, database_name, trainer)
        return self.boxes[key]

    def _make(self, home: Path, database_name: str, trainer: str) -> Box:
        if database_name == "sqlite":
            return Box(home, f"sqlite:///{home / 'bunsen.db'}", trainer=trainer)
        if self._postgres is None:
            self._postgres = PostgresServer(self._scratch / "matrix")
        self._postgres.ensure()
        server = self._postgres.databases
        return Box(home, server.url(server.create()), self._postgres, trainer)

    def end(self, box: Box) -> None:
        box.stop()
        self.boxes = {key: kept for key, kept in self.boxes.items() if kept is not box}

    def end_all(self) -> None:
        for box in list(self.boxes.values()):
            self.end(box)
        if self._postgres is not None:
            self._postgres.kill()


@pytest.fixture(scope="session")
def boxes(scratch: Path) -> Iterator[Boxes]:
    made = Boxes(scratch)
    yield made
    made.end_all()


@pytest.fixture
def box(
    request: pytest.FixtureRequest, boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Box]:
    """The box of this cell, whole, and the only one that this process looks into."""
    database_name, trainer = request.param
    chosen = boxes.get(database_name, trainer)
    with ExitStack() as stack:
        for name, value in chosen.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        stack.callback(forget)
        if not (chosen.home / "logs").exists():
            engine = make_engine(chosen.database_url)
            upgrade(engine)
            engine.dispose()
        chosen.ensure()
        failures = request.session.testsfailed
        yield chosen
        if request.session.testsfailed > failures:
            boxes.end(chosen)


def forget() -> None:
    database.reset()
    get_settings.cache_clear()
    broker.reset()
