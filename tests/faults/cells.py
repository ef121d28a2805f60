"""The matrix as a list of cells, and which of them every run of the tests includes."""

from dataclasses import dataclass

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.phases import PHASES, Phase


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault, at one phase of a run, on one database."""

    fault: Fault
    phase: Phase
    database: str

    def __str__(self) -> str:
        return f"{self.database}-{self.fault}-{self.phase}".replace(" ", "_")


CELLS = tuple(
    Cell(fault, phase, database)
    for database in ("sqlite", "postgres")
    for fault in FAULTS
    for phase in PHASES
    if database in fault.databases and phase in fault.phases
)


def everyday() -> frozenset[Cell]:
    """For each fault and database one cell, the phase going on with each: part of every run."""
    chosen = []
    pairs = [(fault, database) for fault in FAULTS for database in fault.databases]
    for number, (fault, database) in enumerate(pairs):
        phases = [phase for phase in PHASES if phase in fault.phases]
        chosen.append(Cell(fault, phases[number % len(phases)], database))
    return frozenset(chosen)


EVERYDAY = everyday()
