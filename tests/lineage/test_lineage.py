"""The family of a run: who is in it, what is said of each, and what is told to whom."""

import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from app import clock, database
from app.database import reading, transaction
from app.lineage.judged import READ_BY, TEXT
from app.lineage.relatives import MOST_GENERATIONS, MOST_RELATIVES
from app.lineage.tree import Lineage, Node, lineage_of
from app.metrics import store
from app.models import Artifact, Role, Run, RunResource, RunState, User
from app.runs.named import named_by
from app.runs.queries import get_run
from labs.compression.common.params import CompressionParams
from tests.support.factories import make_dataset, make_model, make_run, make_user
from tests.support.site import Site, two_classes

DONE: dict[str, Any] = {"state": RunState.SUCCEEDED, "attempt": 1}


def made(session: Session, owner: User, parent: Run | None = None, **values: Any) -> Run:
    """A run that succeeded, on the same inputs as the one that it was built upon."""
    same = {"parent_run_id": parent.id, **inputs_of(parent)} if parent else {}
    return make_run(session, owner, **{**DONE, **same, **values})


def inputs_of(run: Run) -> dict[str, Any]:
    return {"base_model_id": run.base_model_id, "dataset_id": run.dataset_id}


def measured(session: Session, run: Run, **values: float) -> None:
    named = {key.replace("__", "/"): value for key, value in values.items()}
    store.append(session, run.id, 1, [store.MetricRow(0, 1_770_000_000.0, named)])


def nodes(node: Node) -> list[Node]:
    return [node, *(each for child in node.children for each in nodes(child))]


def seen_by(session: Session, actor: User, run: Run) -> Lineage:
    return lineage_of(session, actor, get_run(session, actor, run.id))


def names(lineage: Lineage) -> list[str]:
    return [node.run.name for node in nodes(lineage.root)]


@pytest.fixture
def sam(session: Session) -> User:
    return make_user(session)


def test_a_family_is_ancestors_and_descendants_with_the_run_marked(
    session: Session, sam: User
) -> None:
    tuned = made(session, sam, name="tuned")
    pruned = made(session, sam, tuned, name="pruned")
    made(session, sam, tuned, name="a sister")
    small = made(session, sam, pruned, name="4 bits")
    made(session, sam, pruned, name="8 bits")
    made(session, sam, small, name="served")
    found = seen_by(session, sam, pruned)
    assert names(found) == ["tuned", "pruned", "4 bits", "served", "8 bits"]
    assert [node.run.name for node in nodes(found.root) if node.is_current] == ["pruned"]
    assert found.compare.count(",") == 4
    alone = seen_by(session, sam, made(session, sam))
    assert alone.is_alone
    assert alone.compare == ""


def test_each_node_says_what_was_measured_of_it_and_of_what_it_started_from(
    session: Session, sam: User
) -> None:
    first = made(session, sam)
    small = made(session, sam, first)
    measured(session, first, test__accuracy=0.93, test__base_accuracy=0.5)
    measured(session, small, test__accuracy=0.91, test__base_accuracy=0.93, artifact__bytes=2048.0)
    found = seen_by(session, sam, small)
    assert [(each.title, each.value) for each in found.base_figures] == [("Exact answers", "50 %")]
    told = {each.title: (each.value, each.before) for each in nodes(found.root)[1].figures}
    assert told == {"Exact answers": ("91 %", "before: 93 %"), "Size on disk": ("2 KiB", "")}
    assert not found.is_apart


def test_what_was_judged_on_other_rows_or_another_text_is_marked(
    session: Session, sam: User
) -> None:
    first = made(session, sam, params={"evaluation_window": 128})
    other_rows = made(session, sam, first, dataset_id=make_dataset(session).id)
    other_text = made(session, sam, first, params={"evaluation_window": 64})
    for run in (first, other_rows, other_text):
        measured(session, run, test__accuracy=0.9, test__perplexity=6.0)
    apart = {
        node.run.id: {each.title for each in node.figures if each.is_apart}
        for node in nodes(seen_by(session, sam, first).root)
    }
    both = {"Exact answers", "Perplexity"}
    assert apart == {first.id: set(), other_rows.id: both, other_text.id: {"Perplexity"}}


def test_a_student_hangs_under_its_teacher_too_and_names_it(session: Session, sam: User) -> None:
    teacher = made(session, sam, name="teacher")
    student = made(session, sam, name="student", lab="distillation")
    session.add(RunResource(run_id=student.id, name="teacher", used_run_id=teacher.id))
    session.flush()
    below = seen_by(session, sam, teacher).root.children
    assert [(node.run.name, bool(node.via)) for node in below] == [("student", True)]
    ((_, given),) = seen_by(session, sam, student).root.given
    assert (given.name, given.run_id) == ("teacher", teacher.id)


def test_runs_of_others_are_counted_and_deleted_ones_are_not(session: Session, sam: User) -> None:
    first = made(session, sam)
    tess = make_user(session)
    made(session, tess, first, name="a secret")
    made(session, sam, first, deleted_at=clock.now(), name="gone")
    found = seen_by(session, sam, first)
    assert (names(found), found.root.hidden) == ([first.name], 1)
    hers = made(session, tess, first)
    assert seen_by(session, tess, hers).hidden_above
    admin = make_user(session, role=Role.ADMIN)
    assert names(seen_by(session, admin, first)) == [first.name, "a secret", hers.name]


def test_a_teacher_that_is_out_of_sight_has_no_name(session: Session, sam: User) -> None:
    """An instructor may lose sight of a student whose run they have built upon."""
    teacher = made(session, sam, name="a secret")
    maria = make_user(session, role=Role.INSTRUCTOR)
    student = made(session, maria, lab="distillation")
    session.add(RunResource(run_id=student.id, name="teacher", used_run_id=teacher.id))
    session.flush()
    ((_, given),) = seen_by(session, maria, student).root.given
    assert (given.name, given.run_id) == ("", None)
    assert named_by(session, maria, student.id) == {}
    assert named_by(session, sam, student.id) == {"teacher": "a secret"}


def test_a_large_family_is_cut_and_says_so(session: Session, sam: User) -> None:
    top = made(session, sam)
    for _ in range(MOST_RELATIVES + 5):
        made(session, sam, top)
    wide = seen_by(session, sam, top)
    assert (len(nodes(wide.root)), wide.is_cut) == (MOST_RELATIVES + 1, True)
    chain = [made(session, sam)]
    for _ in range(MOST_GENERATIONS + 3):
        chain.append(made(session, sam, chain[-1]))
    assert seen_by(session, sam, chain[0]).is_cut
    assert seen_by(session, sam, chain[-1]).is_cut


def test_a_wide_family_takes_no_more_queries_than_a_narrow_one(session: Session, sam: User) -> None:
    few, many = made(session, sam), made(session, sam)
    made(session, sam, few)
    for _ in range(20):
        made(session, sam, many)
    session.commit()
    assert queries_for(sam, few.id) == queries_for(sam, many.id) <= 8


def queries_for(actor: User, run_id: UUID) -> int:
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    with reading() as session:
        run = get_run(session, actor, run_id)
        event.listen(database.get_engine(), "before_cursor_execute", counted)
        try:
            lineage_of(session, actor, run)
        finally:
            event.remove(database.get_engine(), "before_cursor_execute", counted)
    return count


def family(site: Site) -> tuple[Run, Run, Run]:
    """sam's run, one made from it, and another's that is made from it too."""
    with transaction() as session:
        sam = site.people["sam"]
        first = made(session, sam, name="the first")
        second = made(session, sam, first, name="the <second>")
        hers = made(session, site.people["tess"], first, name="a secret")
        text = {"name": "calibration", "dataset_id": make_dataset(session, name="talk").id}
        teacher = {"name": "teacher", "model_id": make_model(session, name="large").id}
        session.add_all(RunResource(run_id=second.id, **each) for each in (text, teacher))
        session.add(
            Artifact(run_id=first.id, name="pruned", kind="model", path="artifacts/pruned",
                     bytes=2_000_000, sha256="ab" * 32, attempt=1, created_at=clock.now())
        )  # fmt: skip
    return first, second, hers


def test_page_and_api_tell_the_family(database_url: str) -> None:
    site = two_classes()
    first, second, _ = family(site)
    client, script = site.client("sam"), site.script("sam")
    page = client.get(f"/runs/{first.id}").text
    tree = page[page.index('id="lineage"') :]
    assert f'href="/runs/{second.id}"' in tree
    assert "the &lt;second&gt;" in tree
    assert "1 run of somebody else" in tree
    assert "a secret" not in page
    assert re.search(r"pruned\s*<span[^>]*>model</span>\s*<span[^>]*>1.9 MiB", tree)
    assert f"/compare?runs={first.id},{second.id}" in tree
    told = script.get(f"/api/v1/runs/{first.id}").json()["lineage"]
    assert [(each["id"], each["via"]) for each in told["children"]] == [
        (str(second.id), "parent_run")
    ]
    assert told["hidden_children"] == 1
    given = script.get(f"/api/v1/runs/{second.id}").json()["lineage"]
    assert given["parent_run"] == str(first.id)
    assert {name: each["name"] for name, each in given["resources"].items()} == {
        "calibration": "talk",
        "teacher": "large",
    }


def test_what_says_how_text_is_read_are_parameters_of_the_labs() -> None:
    assert {TEXT, *READ_BY} <= set(CompressionParams.model_fields)
