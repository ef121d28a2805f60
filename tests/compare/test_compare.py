"""What a comparison says: colours that stay, what was varied, which value is better."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.compare.colours import COLOURS, marks
from app.compare.views import compare_page
from app.models import Role
from app.runs import lifecycle
from tests.support.factories import make_dataset, make_model, make_user
from tests.support.factories_web import ANSWERS, make_shown_run

IDS = [UUID(int=number) for number in (3, 11, 4, 19)]


def test_a_run_keeps_its_colour_whoever_stands_after_it() -> None:
    alone, among = marks(IDS[:1]), marks(IDS)
    assert alone[IDS[0]] == among[IDS[0]]


def test_no_two_runs_share_a_colour_while_there_are_enough() -> None:
    many = [UUID(int=3 + COLOURS * place) for place in range(COLOURS)]
    assert len({mark.colour for mark in marks(many).values()}) == COLOURS


def test_more_runs_than_colours_differ_by_dashes() -> None:
    many = [UUID(int=place) for place in range(COLOURS + 4)]
    assert len(marks(many)) == COLOURS + 4


def test_the_one_changed_parameter_is_named_and_the_better_value_marked(session: Session) -> None:
    sam = make_user(session, role=Role.STUDENT)
    inputs: dict[str, Any] = {
        "base_model_id": make_model(session).id,
        "dataset_id": make_dataset(session).id,
    }
    first = make_shown_run(session, sam, steps=20, **inputs)
    second = make_shown_run(session, sam, steps=60, params={"rank": 1}, **inputs)
    page = compare_page(session, sam, [first.id, second.id])
    assert page.varied.only is not None
    assert page.varied.only.title == "Rank r"
    assert list(page.varied.only.values) == ["8", "1"]
    better = {row.key: row.best for row in page.metrics}
    assert better["train/loss"] == {1}
    assert better["eval/accuracy"] == {1}
    assert better["train/learning_rate"] == frozenset()
    assert [row.answers for row in page.samples] == [["FAC", "FAC"]]


def test_a_result_taken_over_is_no_repeat(session: Session) -> None:
    sam = make_user(session, role=Role.STUDENT)
    first, repeat = (make_shown_run(session, sam) for _ in range(2))
    taken = make_shown_run(session, sam, same_as_id=first.id)
    assert compare_page(session, sam, [first.id, taken.id]).shares_result
    assert not compare_page(session, sam, [first.id, repeat.id]).shares_result


def test_rows_of_training_data_are_no_answers(session: Session) -> None:
    sam = make_user(session, role=Role.STUDENT)
    runs = [make_shown_run(session, sam) for _ in range(2)]
    for run in runs:
        given = {**ANSWERS, "name": "rows", "rows": [{"prompt": "Seen", "answer": "HRD"}]}
        lifecycle.append_events(session, run.id, 1, [("samples", given)])
    page = compare_page(session, sam, [run.id for run in runs])
    assert [row.prompt for row in page.samples] == ["My printer burns"]


def test_an_empty_answer_is_not_the_base_models(session: Session) -> None:
    sam = make_user(session, role=Role.STUDENT)
    runs = [make_shown_run(session, sam) for _ in range(2)]
    silent = {**ANSWERS, "rows": [{**ANSWERS["rows"][0], "tuned": ""}]}
    lifecycle.append_events(session, runs[1].id, 1, [("samples", silent)])
    page = compare_page(session, sam, [run.id for run in runs])
    assert [row.answers for row in page.samples] == [["FAC", ""]]
