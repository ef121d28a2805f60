"""What the pages of datasets show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from app.datasets import queries
from app.datasets.lines import Line, lines_around
from app.datasets.upload import FIELD, uses
from app.errors import AppError, InvalidInput
from app.html import bytes_
from app.i18n import sentence
from app.models import Dataset, User
from app.settings import get_settings


@dataclass(frozen=True, slots=True)
class DatasetsPage:
    """All datasets one may use, and the upload. Rendered by datasets/index.html."""

    datasets: Sequence[Dataset]
    owners: Mapping[UUID, str]
    problems: Sequence[str]
    problems_title: str
    upload_field: str
    largest: str


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """One dataset. Rendered by datasets/show.html."""

    dataset: Dataset
    owner: str
    used_by: int
    may_delete: bool
    lines: Sequence[Line]


def datasets_page(session: Session, actor: User, refused: AppError | None = None) -> DatasetsPage:
    datasets = queries.list_datasets(session, actor)
    return DatasetsPage(
        datasets=datasets,
        owners=queries.owner_names(session, datasets),
        problems=_told(refused),
        problems_title=sentence(refused.message, refused.values) if refused else "",
        upload_field=FIELD,
        largest=bytes_(get_settings().max_upload_bytes),
    )


def dataset_page(
    session: Session,
    actor: User,
    dataset: Dataset,
    line: int | None = None,
    file: str | None = None,
) -> DatasetPage:
    used_by = uses(session, dataset)
    owners = queries.owner_names(session, [dataset])
    return DatasetPage(
        dataset=dataset,
        owner=owners[dataset.owner_id] if dataset.owner_id else "",
        used_by=used_by,
        may_delete=dataset.owner_id == actor.id and used_by == 0,
        lines=lines_around(dataset, line, file),
    )


def _told(refused: AppError | None) -> Sequence[str]:
    if not isinstance(refused, InvalidInput):
        return ()
    return [sentence(each.message, each.values) for each in refused.errors]
