"""Every SELECT of datasets for people."""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, defer, joinedload

from app.access import visible
from app.errors import NotFound
from app.i18n import N_
from app.models import Dataset, Run, User
from app.runs.queries import datasets_for

PAGE = 50
LISTED_RUNS = 10


class DatasetFilters(BaseModel):
    """What the list is narrowed to; all of it stands in the address."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    search: str = Field(default="", max_length=200)
    format: str = Field(default="", max_length=40)
    source: Literal["", "own", "shared", "bundled"] = ""
    page: int = Field(default=1, ge=1, le=100_000)

    @property
    def are_set(self) -> bool:
        return bool(self.search or self.format or self.source)

    def address(self, page: int) -> str:
        """The list with these filters, another page of it."""
        values = {"search": self.search, "format": self.format, "source": self.source}
        given = {name: text for name, text in values.items() if text}
        return "/datasets?" + urlencode({**given, "page": page})


def list_datasets(session: Session, actor: User) -> Sequence[Dataset]:
    """The datasets an actor may use, those that come with Bunsen first, then the newest."""
    return session.scalars(datasets_for(actor).order_by(*_order())).all()


def page_of_datasets(
    session: Session, actor: User, filters: DatasetFilters
) -> tuple[Sequence[Dataset], bool]:
    """A page of the datasets an actor may use, and whether more follow; own ones come first.

    Their verdicts stay where they are: ten thousand letters each, that a list does not show.
    """
    statement = datasets_for(actor).where(*_narrowed(actor, filters))
    statement = statement.options(defer(Dataset.verdict, raiseload=True))
    is_others = Dataset.owner_id.is_distinct_from(actor.id)
    order = (is_others, *_order())
    found = session.scalars(
        statement.order_by(*order).offset((filters.page - 1) * PAGE).limit(PAGE + 1)
    ).all()
    return found[:PAGE], len(found) > PAGE


def get_dataset(session: Session, actor: User, dataset_id: UUID) -> Dataset:
    """One dataset; `NotFound` when it is none of the actor's business."""
    dataset = session.scalar(datasets_for(actor).where(Dataset.id == dataset_id))
    if dataset is None:
        raise NotFound(N_("There is no such dataset."))
    return dataset


def versions_of(session: Session, actor: User, dataset: Dataset) -> Sequence[Dataset]:
    """The datasets of the same owner and name that the actor may use, the newest first."""
    if dataset.owner_id is None:
        return [dataset]
    same = (Dataset.owner_id == dataset.owner_id, Dataset.name == dataset.name)
    statement = datasets_for(actor).where(*same)
    return session.scalars(statement.order_by(Dataset.version.desc(), Dataset.id.desc())).all()


def runs_of(session: Session, actor: User, dataset: Dataset) -> tuple[Sequence[Run], int]:
    """The newest runs that learn from a dataset and that the actor may see, and how many."""
    seen = (visible(actor), Run.dataset_id == dataset.id)
    newest = select(Run).options(joinedload(Run.owner)).where(*seen).order_by(Run.id.desc())
    count = session.scalar(select(func.count()).select_from(Run).where(*seen)) or 0
    return session.scalars(newest.limit(LISTED_RUNS)).all(), count


def owner_names(session: Session, datasets: Sequence[Dataset]) -> dict[UUID, str]:
    """The names of the people whose datasets these are."""
    ids = {dataset.owner_id for dataset in datasets if dataset.owner_id}
    rows = session.execute(select(User.id, User.name).where(User.id.in_(ids))).all()
    return {row.id: row.name for row in rows}


def _order() -> tuple[ColumnElement[bool] | ColumnElement[UUID], ...]:
    return Dataset.bundled.desc(), Dataset.id.desc()


def _narrowed(actor: User, filters: DatasetFilters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.search:
        name = Dataset.name.icontains(filters.search, autoescape=True)
        found.append(or_(name, Dataset.title.icontains(filters.search, autoescape=True)))
    if filters.format:
        found.append(Dataset.format == filters.format)
    if filters.source == "own":
        found.append(Dataset.owner_id == actor.id)
    elif filters.source == "shared":
        others = Dataset.owner_id.is_distinct_from(actor.id)
        found += [Dataset.owner_id.is_not(None), others]
    elif filters.source == "bundled":
        found.append(Dataset.owner_id.is_(None))
    return found
