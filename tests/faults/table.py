"""What the matrix found, as a table for people: rows are faults, columns are phases."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.cells import REAL, SCRIPTED, Cell
from tests.faults.phases import PHASES
from tests.faults.promises import PROMISES

NOT_RUN, NOT_APPLICABLE = "", "–"
TITLES = {
    ("sqlite", SCRIPTED): "SQLite",
    ("postgres", SCRIPTED): "Postgres",
    ("sqlite", REAL): "SQLite, with the LoRA lab on a tiny model",
}


@dataclass(frozen=True, slots=True)
class Result:
    passed: bool
    seconds: float

    def __str__(self) -> str:
        return f"ok {self.seconds:.1f}" if self.passed else f"FAILED {self.seconds:.1f}"


def matrix_lines(results: Mapping[Cell, Result]) -> Iterator[str]:
    """A table for each database with cells that ran, and the legend."""
    for (database, trainer), title in TITLES.items():
        ran = {
            cell: found
            for cell, found in results.items()
            if (cell.database, cell.trainer) == (database, trainer)
        }
        if ran:
            yield ""
            yield f"{title}: whether all promises held, and the seconds of the whole cell"
            yield from _aligned(_rows(ran, database))
    yield ""
    yield f"{NOT_APPLICABLE}: not applicable, since: " + "; ".join(_reasons())
    seconds = sum(found.seconds for found in results.values())
    failed = sum(not found.passed for found in results.values())
    yield f"{len(results)} cells, {failed} failed, {seconds:.0f} s"


def _rows(ran: Mapping[Cell, Result], database: str) -> Iterator[Sequence[str]]:
    yield ("", *map(str, PHASES))
    for fault in FAULTS:
        if any(cell.fault is fault for cell in ran):
            yield (fault.name, *(_cell(ran, fault, phase, database) for phase in PHASES))


def _cell(ran: Mapping[Cell, Result], fault: Fault, phase: object, database: str) -> str:
    if phase not in fault.phases:
        return NOT_APPLICABLE
    found = [each for cell, each in ran.items() if (cell.fault, cell.phase) == (fault, phase)]
    return str(found[0]) if found else NOT_RUN


def _reasons() -> Iterator[str]:
    for fault in FAULTS:
        if fault.elsewhere:
            yield f"{fault.name}: {fault.elsewhere}"


def _aligned(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


def proof_lines() -> Iterator[str]:
    """The second table: what proves it, and what stays open."""
    for proof in PROMISES:
        yield f"{proof.number:<4}{proof.what}"
        for test in proof.tests:
            file, _, name = test.removeprefix("tests/").partition("::")
            shown = name.partition("[")[2].rstrip("]")
            yield f"      {'matrix: ' + shown if shown else f'{file} {name}'}"
        if proof.open:
            yield f"      not covered: {proof.open}"
