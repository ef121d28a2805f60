"""The one door through which runs come in."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import commit
from app.errors import Conflict, InvalidInput, TooMany, Unavailable
from app.models import Run, RunState, User
from app.runs import queries
from app.runs.submit import look, submit
from app.settings import get_settings
from tests.runs.conftest import Library
from tests.support.factories import make_device, make_run, make_user


def errors_of(library: Library, **values: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        library.submit(**values)
    return {error.field: str(error) for error in refused.value.errors}


def test_a_submission_becomes_a_queued_run(library: Library) -> None:
    run = library.submit()
    assert (run.state, run.attempt, run.params["steps"]) == (RunState.QUEUED, 0, 10)
    assert run.params["rank"] == 8
    assert run.stages == ["setup", "train", "inference", "deploy"]
    assert 0 <= run.seed < 2**31
    assert run.name.endswith("#1")
    assert [event.payload["state"] for event in queries.events(library.session, run.id)] == [
        "queued"
    ]


def test_the_second_run_of_a_lab_counts_on(library: Library) -> None:
    library.submit()
    assert library.submit().name.endswith("#2")
    assert library.submit(name=" My own ").name == "My own"


def test_a_new_run_stands_last_in_line(library: Library) -> None:
    assert [library.submit().position for _ in range(3)] == [1, 2, 3]


def test_the_same_key_gives_the_same_run(library: Library) -> None:
    first = library.submit(idempotency_key="form-1")
    assert library.submit(idempotency_key="form-1").id == first.id
    assert library.submit(idempotency_key="form-2").id != first.id


@pytest.mark.parametrize(
    "changed",
    [{"seed": 7}, {"params": {"steps": 25}}, {"base_model": "other"}, {"dataset": "other"}],
)
def test_a_key_that_made_another_run_is_refused(
    library: Library, changed: dict[str, object]
) -> None:
    first = library.submit(idempotency_key="form-1", seed=1)
    with pytest.raises(Conflict, match="already used for another run"):
        library.submit(**{"seed": 1, **changed}, idempotency_key="form-1")
    assert library.submit(idempotency_key="form-1", seed=1).id == first.id


def test_keys_of_two_people_are_apart(library: Library) -> None:
    first = library.submit(idempotency_key="form-1")
    other = make_user(library.session)
    second = submit(library.session, other, library.submission(idempotency_key="form-1"))
    assert second.id != first.id


def test_a_text_from_a_form_is_read_as_its_type(library: Library) -> None:
    assert library.submit(params={"steps": "25"}).params["steps"] == 25


@pytest.mark.parametrize(
    ("params", "field", "sentence"),
    [
        ({"rank": 512}, "rank", "Rank r: 512 does not fit: allowed is 1 to 256."),
        ({"rank": "many"}, "rank", "Rank r: “many” is not a whole number."),
        ({"learning_rate": 0}, "learning_rate", "Learning rate: 0 does not fit: allowed is above 0, up to 1."),
        ({"variant": "x"}, "variant", "Variant: “x” is not one of: lora, rslora or dora."),
        ({"rnak": 8}, "rnak", "This lab has no parameter “rnak”. Did you mean: rank?"),
        ({"epochs": 1000}, "epochs", "Epochs: 1000 does not fit: allowed is above 0, up to 100."),
        ({"variant": "a\0b"}, "variant", "A text holds a NUL character or half a surrogate pair."),
        ({"target_modules": ["a", "\ud800"]}, "target_modules", "A text holds a NUL character or half a surrogate pair."),
        ({"double_quantization": True}, "", "Double quantization needs base quantization nf4."),
    ],
)  # fmt: skip
def test_a_parameter_that_does_not_hold_says_what_would(
    library: Library, params: dict[str, object], field: str, sentence: str
) -> None:
    assert errors_of(library, params=params) == {field: sentence}


@pytest.mark.parametrize(
    ("values", "field", "part"),
    [
        ({"lab": "lroa"}, "lab", "Did you mean: lora"),
        ({"stages": ["train"]}, "stages", "Choose these too: setup."),
        ({"stages": ["setup", "cook"]}, "stages", "no stage “cook”"),
        ({"stages": []}, "stages", "at least one stage"),
        ({"base_model": "nothing"}, "base_model", "no base model “nothing”"),
        ({"dataset": "nothing"}, "dataset", "no dataset “nothing”"),
        ({"seed": -1}, "seed", "The seed -1 does not fit"),
        ({"name": "x" * 121}, "name", "at most 120 characters"),
        ({"idempotency_key": ""}, "", "1 to 128 printable characters"),
        ({"parent_run": uuid4()}, "parent_run", "There is no such run."),
    ],
)
def test_a_field_that_does_not_hold_is_named(
    library: Library, values: dict[str, object], field: str, part: str
) -> None:
    errors = errors_of(library, **values)
    assert list(errors) == [field]
    assert part in errors[field]


def test_every_wrong_field_is_told_at_once(library: Library) -> None:
    errors = errors_of(library, params={"rank": 0}, seed=-1, dataset="nothing")
    assert set(errors) == {"rank", "seed", "dataset"}


def test_the_first_stages_alone_may_be_chosen(library: Library) -> None:
    assert library.submit(stages=["train", "setup"]).stages == ["setup", "train"]


def test_a_strangers_dataset_is_not_there(library: Library) -> None:
    library.dataset.owner_id = make_user(library.session).id
    library.session.flush()
    assert "no dataset “letters”" in errors_of(library)["dataset"]


def test_a_dataset_that_changed_on_the_disk_is_refused(library: Library) -> None:
    Path(library.dataset.path).write_text("{}\n")
    assert "is gone or has changed" in errors_of(library)["dataset"]


def test_a_format_the_lab_does_not_take_is_refused(library: Library) -> None:
    library.dataset.format = "preference"
    library.session.flush()
    assert "has the format preference; this lab takes:" in errors_of(library)["dataset"]


def test_a_model_without_tokenizer_is_refused_before_it_is_queued(library: Library) -> None:
    (Path(library.model.path) / "tokenizer.json").unlink()
    assert "has no tokenizer" in errors_of(library)["base_model"]


def test_what_no_device_can_hold_is_refused(library: Library) -> None:
    make_device(library.session, memory_bytes=1 << 20)
    assert "the largest device, cpu, has 0.0 GiB" in errors_of(library)[""]


def test_without_any_device_a_run_may_wait(library: Library) -> None:
    assert library.submit().state is RunState.QUEUED


def test_an_estimate_says_where_it_fits(library: Library) -> None:
    make_device(library.session, memory_bytes=1 << 20)
    make_device(library.session, "cuda:0", memory_bytes=80 << 30)
    told = look(library.session, library.student, library.submission()).estimate
    assert [(each["name"], each["fits"]) for each in told["devices"]] == [
        ("cpu", False),
        ("cuda:0", True),
    ]
    assert told["memory_bytes"] == sum(told["parts"].values()) + told["margin_bytes"]


def test_estimates_learn_from_measured_peaks(library: Library) -> None:
    first = library.submit()
    first.state, first.attempt = RunState.SUCCEEDED, 1
    first.peak_memory_bytes = first.estimate["predicted_bytes"] // 2
    library.session.flush()
    told = look(library.session, library.student, library.submission()).estimate
    assert told["corrected_bytes"] == pytest.approx(told["predicted_bytes"] / 2, rel=0.01)
    assert told["measured_runs"] == 1


def test_a_full_disk_takes_no_new_runs(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_MIN_FREE_BYTES", str(2**62))
    get_settings.cache_clear()
    with pytest.raises(Unavailable):
        library.submit()


def test_a_full_queue_says_so(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "2")
    get_settings.cache_clear()
    make_run(library.session, library.student)
    make_run(library.session, library.student)
    with pytest.raises(TooMany):
        library.submit()


def test_parallel_submissions_never_exceed_the_quota(
    library: Library, session_factory: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "1")
    get_settings.cache_clear()
    library.session.commit()
    refused: list[TooMany] = []

    def one() -> None:
        with session_factory() as own:
            try:
                submit(own, own.get_one(User, library.student.id), library.submission())
                commit(own)
            except TooMany as error:
                refused.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert library.session.scalar(select(func.count()).select_from(Run)) == 1
