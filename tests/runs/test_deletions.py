"""What a run uses is not taken from it, whenever somebody tries."""

from itertools import count
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.datasets.upload import delete_dataset
from app.errors import Conflict, InvalidInput
from app.models import Dataset, LanguageModel, Run, RunState, User
from app.runs.submit import submit
from app.settings import get_settings
from tests.runs.conftest import Library
from tests.support.factories import make_dataset, make_run
from tests.support.interleave import Deed, interleave


def test_a_dataset_stays_while_a_run_is_in_any_state(library: Library) -> None:
    for state in RunState:
        dataset = make_dataset(library.session)
        make_run(library.session, library.student, dataset_id=dataset.id, state=state)
        with pytest.raises(Conflict, match="Runs use this dataset"):
            delete_dataset(library.session, dataset)


def test_the_database_lets_nobody_take_what_a_run_uses(library: Library) -> None:
    """Whatever a later page allows: base model, parent and its artifacts stay as well."""
    parent = make_run(library.session, library.student, state=RunState.SUCCEEDED)
    run = make_run(library.session, library.student, parent_run_id=parent.id)
    library.session.commit()
    used = ((LanguageModel, run.base_model_id), (Dataset, run.dataset_id), (Run, parent.id))
    for table, key in used:
        with pytest.raises(IntegrityError), transaction() as session:
            session.execute(delete(table).where(table.id == key))


@pytest.mark.parametrize("deletes_first", [True, False])
def test_a_dataset_that_goes_while_a_run_is_sent(
    library: Library, deletes_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever statement: whoever is late is told, and no run is left without its rows."""
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "100")
    get_settings.cache_clear()
    for at in count():
        dataset = make_dataset(
            library.session, name=f"letters {at}", sha256=library.dataset.sha256,
            path=library.dataset.path, bytes=library.dataset.bytes, owner_id=library.student.id,
        )  # fmt: skip
        library.session.commit()
        deeds = (deleting(dataset.id), sending(library, dataset.name))
        first, second = deeds if deletes_first else deeds[::-1]
        there_is_more, *accepted = interleave(first, second, at)
        assert sorted(accepted) == [False, True]
        is_sent = accepted[deletes_first]
        with reading() as session:
            runs = select(func.count()).where(Run.dataset_id == dataset.id)
            assert session.scalar(runs) == is_sent
            assert (session.get(Dataset, dataset.id) is not None) == is_sent
        if not there_is_more:
            return


def deleting(dataset_id: UUID) -> Deed:
    return lambda session: delete_dataset(session, session.get_one(Dataset, dataset_id))


def sending(library: Library, dataset: str) -> Deed:
    student, wanted = library.student.id, library.submission(dataset=dataset)

    def send(session: Session) -> None:
        try:
            submit(session, session.get_one(User, student), wanted)
        except InvalidInput as late:
            raise Conflict(late.message) from late

    return send
