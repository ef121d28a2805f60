"""What a run starts from: a model of the library, or what an earlier run left; and what it names."""

import shutil
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from app import clock
from app.access import visible
from app.errors import InvalidInput
from app.models import Artifact, Run, RunResource, RunState
from app.runs import preflight
from app.runs.held import hold
from app.runs.named import named_by
from app.runs.same_work import fingerprint
from app.settings import get_settings
from labs.datasets import fingerprint as rows_fingerprint
from tests.runs.conftest import Library, write_model
from tests.support.factories import make_dataset, make_model, make_run, make_user
from workers.task import _resources

LONG = '{"text": "' + "ab" * 400 + '"}\n'
QUANTIZE = {
    "lab": "quantization",
    "params": {"method": "rtn", "group_size": "channel", "calibration_length": 16, "gguf": "none"},
}


@pytest.fixture
def running(library: Library, tmp_path: Path) -> Library:
    """The library with running text."""
    rows = tmp_path / "text.jsonl"
    rows.write_text(LONG)
    make_dataset(
        library.session, name="campus", format="text", path=str(rows),
        bytes=rows.stat().st_size, sha256=rows_fingerprint(rows), bundled=True,
    )  # fmt: skip
    return library


def left_by(library: Library, kind: str, lab: str = "full", **values: object) -> Run:
    """A finished run of the student's, with an artifact of this kind on the disk."""
    run = make_run(
        library.session, library.student, lab=lab, state=RunState.SUCCEEDED,
        base_model_id=library.model.id, dataset_id=library.dataset.id, **values,
    )  # fmt: skip
    folder = get_settings().run_dir(run.id) / "artifacts" / kind
    write_model(folder)
    library.session.add(
        Artifact(
            run_id=run.id, name=kind, kind=kind, path=f"artifacts/{kind}", bytes=1000,
            sha256=f"{run.id.int:064x}"[:64], attempt=1, created_at=clock.now(),
        )
    )  # fmt: skip
    library.session.flush()
    return run


def errors_of(library: Library, **values: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        library.submit(**values)
    return {error.field: str(error) for error in refused.value.errors}


def test_a_run_goes_on_from_the_model_that_another_left(library: Library) -> None:
    parent = left_by(library, "merged")
    shutil.rmtree(library.model.path)  # what counts now is what the parent left
    checked = preflight.check(
        library.session, library.student, library.submission(base_model=None, parent_run=parent.id)
    )
    assert checked.start.facts.name == parent.name
    assert checked.start.folder == get_settings().run_dir(parent.id) / "artifacts" / "merged"
    run = library.submit(base_model=None, parent_run=parent.id)
    assert (run.parent_run_id, run.base_model_id) == (parent.id, library.model.id)


def test_a_parent_and_another_base_model_are_not_taken_together(library: Library) -> None:
    parent = left_by(library, "merged")
    make_model(library.session, name="other")
    told = errors_of(library, base_model="other", parent_run=parent.id)
    assert "was made from “small”" in told["base_model"]


@pytest.mark.parametrize(
    ("kind", "lab", "part"),
    [
        ("adapter", "lora", "Merge it first"),
        ("adapter", "prompt_tuning", "cannot be merged"),
        ("quantized", "quantization", "Start from the run or the model that it was made from"),
        ("gguf", "serve", "nothing that this lab takes"),
    ],
)
def test_what_is_no_whole_model_is_refused_with_what_would_work(
    library: Library, kind: str, lab: str, part: str
) -> None:
    parent = left_by(library, kind, lab)
    told = errors_of(library, base_model=None, parent_run=parent.id)
    assert part in told["parent_run"]


def test_others_runs_and_unfinished_ones_are_no_parents(library: Library) -> None:
    theirs = make_run(library.session, make_user(library.session), state=RunState.SUCCEEDED)
    assert errors_of(library, base_model=None, parent_run=theirs.id) == {
        "parent_run": "There is no such run."
    }
    own = make_run(library.session, library.student)
    told = errors_of(library, base_model=None, parent_run=own.id)
    assert "has succeeded" in told["parent_run"]


def test_a_parent_deleted_a_moment_ago_is_told_of(library: Library) -> None:
    parent = left_by(library, "merged")
    submission = library.submission(base_model=None, parent_run=parent.id)
    checked = preflight.check(library.session, library.student, submission)
    parent.deleted_at = clock.now()
    library.session.flush()
    with pytest.raises(InvalidInput) as refused:
        hold(library.session, [checked])
    (told,) = refused.value.errors
    assert (told.field, "deleted a moment ago" in str(told)) == ("parent_run", True)
    hidden = select(Run.id).where(visible(library.student), Run.id == parent.id)
    assert library.session.scalar(hidden) is None


def test_a_parameter_names_running_text(running: Library) -> None:
    run = running.submit(**QUANTIZE)
    row = running.session.scalars(select(RunResource).where(RunResource.run_id == run.id)).one()
    assert (row.name, row.model_id, row.used_run_id) == ("calibration", None, None)
    assert named_by(running.session, running.student, run.id) == {"calibration": "campus"}
    assert set(_resources(running.session, run.id)) == {"calibration"}


def test_a_dataset_counts_by_its_rows_however_it_is_named(running: Library) -> None:
    text = running.session.scalars(
        select(RunResource.dataset_id).where(RunResource.run_id == running.submit(**QUANTIZE).id)
    ).one()
    marks = {
        fingerprint(
            preflight.check(
                running.session,
                running.student,
                running.submission(
                    lab="quantization", params={**QUANTIZE["params"], "calibration": name}
                ),
            )
        )
        for name in ("campus", str(text))
    }
    assert len(marks) == 1


@pytest.mark.parametrize("name", ["nothing", str(UUID(int=1)), "small"])
def test_what_a_parameter_names_in_vain_is_told_at_its_field(running: Library, name: str) -> None:
    params = {**QUANTIZE["params"], "calibration": name}
    told = errors_of(running, lab="quantization", params=params)
    assert set(told) == {"calibration"}
    assert name in told["calibration"]


def test_text_shorter_than_a_block_is_refused_before_the_queue(running: Library) -> None:
    params = {**QUANTIZE["params"], "calibration_length": 2000}
    told = errors_of(running, lab="quantization", params=params)
    assert "fewer than one block of 2000" in told["calibration_length"]
