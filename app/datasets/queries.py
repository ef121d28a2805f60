"""Every SELECT of datasets for people."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.i18n import N_
from app.models import Dataset, User
from app.runs.queries import datasets_for


def list_datasets(session: Session, actor: User) -> Sequence[Dataset]:
    """The datasets an actor may use, those that come with Bunsen first, then the newest."""
    order = (Dataset.bundled.desc(), Dataset.id.desc())
    return session.scalars(datasets_for(actor).order_by(*order)).all()


def get_dataset(session: Session, actor: User, dataset_id: UUID) -> Dataset:
    """One dataset; `NotFound` when it is none of the actor's business."""
    dataset = session.scalar(datasets_for(actor).where(Dataset.id == dataset_id))
    if dataset is None:
        raise NotFound(N_("There is no such dataset."))
    return dataset


def owner_names(session: Session, datasets: Sequence[Dataset]) -> dict[UUID, str]:
    """The names of the people whose datasets these are."""
    ids = {dataset.owner_id for dataset in datasets if dataset.owner_id}
    rows = session.execute(select(User.id, User.name).where(User.id.in_(ids))).all()
    return {row.id: row.name for row in rows}
