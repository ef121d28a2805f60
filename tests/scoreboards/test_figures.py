"""What stands in a scoreboard: figures as the runs measured them, the best marked, doubts told."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.models import RunGroup, RunState, User
from app.scoreboards.choice import Choice
from app.scoreboards.download import as_csv
from app.scoreboards.fairness import Evidence, warnings_of
from app.scoreboards.views import ScoreboardPage, measured_of, scoreboard_page
from labs import registry
from tests.support.factories import make_user
from tests.support.factories_boards import STEPS, make_member, make_scoreboard


@pytest.fixture
def sam(session: Session) -> User:
    return make_user(session)


def board(session: Session, sam: User, **values: Any) -> RunGroup:
    """A small one, whose runs are of today's code."""
    made = make_scoreboard(session, sam, methods=("lora", "bitfit", "full"), **values)
    for run in measured_of(session, sam, made).runs:
        run.code_version = registry.code_version(run.lab)
    session.flush()
    return made


def page_of(session: Session, sam: User, made: RunGroup, **choice: str) -> ScoreboardPage:
    return scoreboard_page(session, sam, made, Choice(**choice))


def test_figures_are_what_the_runs_measured(session: Session, sam: User) -> None:
    found = measured_of(session, sam, board(session, sam))
    lora = found.figures[found.runs[0].id]
    kept = lora["quality"]
    assert (kept.value, kept.base, kept.step) == (0.95, 0.02, STEPS // 2)
    assert (lora["test"].value, lora["test"].base) == (0.94, 0.03)
    assert lora["time"].value == pytest.approx(STEPS * 0.033)
    assert lora["speed"].count == STEPS
    assert lora["memory"].value == 6.2e8
    assert lora["size"].value == 312_000
    assert found.warnings == []


def test_rows_stand_in_the_order_asked_for_and_the_best_are_marked(
    session: Session, sam: User
) -> None:
    made = board(session, sam, states={"full": RunState.FAILED})
    by_quality = page_of(session, sam, made)
    assert [line.run.lab for line in by_quality.lines] == ["lora", "bitfit", "full"]
    by_share = page_of(session, sam, made, sort="share")
    assert [line.run.lab for line in by_share.lines] == ["bitfit", "lora", "full"]
    reverse = page_of(session, sam, made, sort="share", reverse="1")
    assert [line.run.lab for line in reverse.lines] == ["lora", "bitfit", "full"]
    marked = {
        head.heading.name: [line.run.lab for line in by_quality.lines if line.cells[at].is_best]
        for at, head in enumerate(by_quality.heads)
    }
    assert marked["quality"] == marked["perplexity"] == ["lora"], "who failed has not won"
    assert marked["share"] == marked["size"] == marked["speed"] == ["bitfit"]
    assert "not-a-number" in by_quality.lines[-1].ended


def test_the_front_is_told_and_a_run_that_failed_is_not_on_it(session: Session, sam: User) -> None:
    made = board(session, sam, states={"full": RunState.FAILED})
    page = page_of(session, sam, made, cost="memory")
    assert page.tradeoff is not None
    assert page.tradeoff.best == ["bitfit", "lora"]
    assert page.tradeoff.cost.name == "memory"
    assert "Full fine-tuning" in str([each["values"] for each in page.warnings])
    unknown = page_of(session, sam, made, cost="x'\"<", quality="no", sort="no")
    assert unknown.tradeoff is not None
    assert unknown.tradeoff.cost.name == "share"


def test_without_any_result_there_is_no_picture(session: Session, sam: User) -> None:
    waiting = dict.fromkeys(("lora", "bitfit", "full"), RunState.QUEUED)
    page = page_of(session, sam, board(session, sam, states=waiting))
    assert page.tradeoff is None
    assert page.warnings == []
    assert page.may_cancel
    assert {cell.text for line in page.lines for cell in line.cells} == {""}


def test_neighbours_on_the_device_are_told(session: Session, sam: User) -> None:
    made = board(session, sam)
    assert page_of(session, sam, made).warnings == []
    other = make_user(session)
    first = measured_of(session, sam, made).runs[0]
    assert first.started_at is not None
    begin = first.started_at + timedelta(seconds=5)
    make_member(session, other, "ia3", begin, state=RunState.SUCCEEDED)
    (warning,) = page_of(session, sam, made).warnings
    assert warning["message"].startswith("Shared their device")
    assert warning["values"] == {"methods": "LoRA"}


FAIR = Evidence(
    "LoRA", device="A GPU", code="1", code_now="1", truncated=0.0, steps=20, expected_steps=20
)


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"device": "Another GPU"}, "Not all were measured on the same device"),
        ({"neighbours": True}, "Shared their device"),
        ({"taken_over": True}, "Took over a result"),
        ({"code": "2"}, "The code of these labs has changed"),
        ({"truncated": 0.25}, "Not all learned from the same text"),
        ({"attempts": 2}, "Interrupted and resumed"),
        ({"steps": 11}, "Not all trained for as many steps"),
        ({"is_measured": False}, "Without a result"),
    ],
)
def test_each_doubt_has_its_sentence(changes: dict[str, Any], begins: str) -> None:
    assert warnings_of([FAIR, FAIR], over=True) == []
    odd = Evidence(**{**{name: getattr(FAIR, name) for name in FAIR.__slots__}, **changes})
    (warning,) = warnings_of([FAIR, odd], over=True)
    assert warning["message"].startswith(begins)
    assert warning["message"].format(**warning["values"])


def test_the_download_has_bare_numbers_and_no_formulas(session: Session, sam: User) -> None:
    made = board(session, sam)
    run = measured_of(session, sam, made).runs[0]
    run.dataset.name = "=1+1"
    session.flush()
    rows = list(csv.DictReader(io.StringIO(as_csv(measured_of(session, sam, made)))))
    assert [row["lab"] for row in rows] == ["lora", "bitfit", "full"]
    assert float(rows[0]["quality (fraction)"]) == 0.95
    assert float(rows[0]["quality_untouched (fraction)"]) == 0.02
    assert rows[0]["quality_step"] == str(STEPS // 2)
    assert rows[0]["dataset"] == "'=1+1"
    assert rows[0]["run"] == str(run.id)
