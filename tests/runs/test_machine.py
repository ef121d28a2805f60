"""Whatever dies, stops, repeats itself or comes too late: nothing is lost, nothing happens twice.

The rules are the events of FAULTS, in any order (`machine_rules`); the laws I1 to I12 are in
`machine_laws`. By default a few examples; `-m faults` tries many more and longer ones.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from app import clock
from app.settings import get_settings
from tests.runs.machine_rules import Machine

LIMITS = {"BUNSEN_MAX_WAITING_PER_PERSON": "3", "BUNSEN_MAX_RUNNING_PER_PERSON": "2"}


@pytest.fixture
def limits(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in LIMITS.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    monkeypatch.setattr(clock, "now", lambda: Machine.worlds[0].now)
    yield
    Machine.worlds.clear()


@pytest.mark.faults
@pytest.mark.usefixtures("limits")
def test_nothing_is_lost_and_nothing_happens_twice(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    thorough = "faults" in str(request.config.getoption("markexpr"))
    run_state_machine_as_test(
        type("MachineHere", (Machine,), {"folder": tmp_path}),
        settings=settings(
            max_examples=300 if thorough else 12,
            stateful_step_count=60 if thorough else 25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
