"""The matrix as a list of cells, and which of them every run of the tests includes."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.catalogue import FAULTS, POWER_LOSS, SQLITE, TRAINER_KILLED, WORKER_KILLED, Fault
from tests.faults.phases import DEPLOY, INFERENCE, PHASES, SAVING, SETUP, TRAIN, Phase

SCRIPTED, REAL = "tests.faults.trainer", "tests.faults.real"


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault, at one phase of a run, on one database, with one kind of trainer."""

    fault: Fault
    phase: Phase
    database: str
    trainer: str = SCRIPTED

    def __str__(self) -> str:
        return f"{self.database}-{self.fault}-{self.phase}".replace(" ", "_")


CELLS = tuple(
    Cell(fault, phase, database)
    for database in ("sqlite", "postgres")
    for fault in FAULTS
    for phase in PHASES
    if database in fault.databases and phase in fault.phases
)
REAL_CELLS = tuple(
    Cell(fault, phase, SQLITE, REAL)
    for fault, phases in {
        TRAINER_KILLED: (SETUP, TRAIN, SAVING, INFERENCE, DEPLOY),
        WORKER_KILLED: (TRAIN,),
        POWER_LOSS: (SAVING,),
    }.items()
    for phase in phases
)


def everyday() -> Iterable[Cell]:
    """For each fault and database one cell, the phase going on with each; and one real one."""
    pairs = [(fault, database) for fault in FAULTS for database in fault.databases]
    for number, (fault, database) in enumerate(pairs):
        phases = [phase for phase in PHASES if phase in fault.phases]
        yield Cell(fault, phases[number % len(phases)], database)
    yield Cell(TRAINER_KILLED, SAVING, SQLITE, REAL)


EVERYDAY = frozenset(everyday())
