"""What the pages of runs are given: figures in words, stages in order, small curves."""

import math
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy.orm import Session

from app import clock
from app.models import RunState
from app.runs.charts import charts_of, family
from app.runs.labs_of import lab_of
from app.runs.measure import measured
from app.runs.queries import attempts, events, get_run
from app.runs.sparkline import sparkline
from app.runs.stages import stage_lines
from app.runs.tail import log_tail
from app.runs.timeline import timeline
from app.runs.views import run_page
from labs.registry import get
from tests.support.factories import make_attempt, make_run, make_user
from tests.support.factories_web import make_shown_run


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.8612, "fraction", "86.12 %"),
        (1536.0, "bytes", "1.5 KiB"),
        (0.0143, "s", "14.3 ms"),
        (75.0, "s", "1 min 15 s"),
        (0.000012, "", "1.20e-05"),
        (1013248.0, "", "1,013,248"),
        (math.nan, "", "NaN"),
        (None, "s", "–"),
    ],
)
def test_measurements_are_told_in_the_form_people_read(
    value: float | None, unit: str, words: str
) -> None:
    assert measured(value, unit) == words


def test_losses_share_a_chart_and_memory_another() -> None:
    assert family("train/loss") == family("eval/loss") == "loss"
    keys = [chart.keys for chart in charts_of(get("lora"), ["own/thing"])]
    assert ["train/loss", "eval/loss"] in keys
    assert ["own/thing"] in keys


def test_a_small_curve_skips_what_is_no_number() -> None:
    values = np.array([2.0, math.nan, 1.0, math.inf, 0.5])
    points = sparkline(np.arange(5, dtype=np.int64), values).split()
    assert points[0] == "0.0,1.0"
    assert points[-1] == "96.0,23.0"
    assert sparkline(np.array([3], dtype=np.int64), np.array([1.0])) == ""


def test_stages_are_done_now_or_ahead_and_the_rest_is_estimated(session: Session) -> None:
    run = make_shown_run(session, make_user(session), RunState.RUNNING, steps=60)
    assert run.stage_started_at is not None
    now = run.stage_started_at + timedelta(seconds=30)
    lines = stage_lines(run, lab_of(run), events(session, run.id), now)
    assert [line.status for line in lines] == ["done", "now", "ahead", "ahead"]
    assert lines[1].fraction == 0.5
    assert lines[1].left == 30


def test_no_step_is_claimed_for_a_try_that_went_on_after_the_training(session: Session) -> None:
    run = make_shown_run(session, make_user(session), RunState.RUNNING, steps=60)
    values = {"started_at": clock.now(), "resumed_from_step": None}
    later = make_attempt(session, run, 2, **values), make_attempt(session, run, 3, **values)
    later[1].resumed_from_step = 40
    lines = timeline(run, attempts(session, run.id), 60)
    assert [(line.first, line.last) for line in lines] == [(0, None), (None, 40), (40, 60)]


def test_a_run_of_a_removed_lab_still_has_its_page(session: Session) -> None:
    sam = make_user(session)
    run = make_run(session, sam, lab="gone", stages=["train"], queued_at=clock.now())
    session.expunge_all()
    page = run_page(session, sam, get_run(session, sam, run.id))
    assert page.lab.title == "gone"
    assert [line.title for line in page.stages] == ["train"]


def test_a_log_is_shown_as_a_terminal_would_leave_it(home: Path) -> None:
    run_id = uuid4()
    folder = home / "runs" / str(run_id)
    folder.mkdir(parents=True)
    text = "10 %\r20 %\r30 %\n\x1b[31mred\x1b[0m\r\nend\n"
    (folder / "output.log").write_bytes(text.encode())
    tail = log_tail(run_id)
    assert tail.text == "30 %\nred\nend\n"
    assert tail.end == len(text)
