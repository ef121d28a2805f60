"""What a run that is being queued builds upon stays until it is: nobody deletes it meanwhile."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidInput
from app.i18n import N_
from app.models import Dataset, Run
from app.runs.preflight import Checked


def hold(session: Session, checked: Iterable[Checked]) -> None:
    """From here to the commit the datasets and earlier runs of these are there.

    Raises:
        InvalidInput: If one was deleted a moment ago.
    """
    for_datasets: dict[UUID, str] = {}
    for_runs: dict[UUID, str] = {}
    for each in checked:
        for_datasets[each.dataset.id] = "dataset"
        if each.start.parent:
            for_runs[each.start.parent.run.id] = "parent_run"
        for named in each.resources:
            if named.dataset:
                for_datasets[named.dataset.id] = named.parameter
            if named.run:
                for_runs[named.run.id] = named.parameter
    _hold_datasets(session, for_datasets)
    _hold_runs(session, for_runs)


def _hold_datasets(session: Session, fields: dict[UUID, str]) -> None:
    wanted = select(Dataset.id).where(Dataset.id.in_(fields)).order_by(Dataset.id)
    still = session.scalars(wanted.with_for_update(read=True, key_share=True)).all()
    _tell(fields, still, N_("This dataset was deleted a moment ago."))


def _hold_runs(session: Session, fields: dict[UUID, str]) -> None:
    """Shared locks: whoever deletes a run changes its row, and so waits for our commit."""
    wanted = select(Run.id).where(Run.id.in_(fields), Run.deleted_at.is_(None)).order_by(Run.id)
    still = session.scalars(wanted.with_for_update(read=True)).all() if fields else []
    _tell(fields, still, N_("The run that this one builds upon was deleted a moment ago."))


def _tell(fields: dict[UUID, str], still: Sequence[UUID], sentence: str) -> None:
    gone = [field for identity, field in fields.items() if identity not in still]
    if gone:
        raise InvalidInput([FieldError(field, sentence) for field in gone])
