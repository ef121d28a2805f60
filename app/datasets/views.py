"""What the list of datasets and its upload show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from app.datasets import queries
from app.datasets.examples import EXAMPLES
from app.datasets.queries import DatasetFilters
from app.datasets.shares import Shared, shares_of
from app.datasets.upload import FIELD, PASTED
from app.errors import AppError, FieldError, InvalidInput
from app.html import bytes_
from app.i18n import N_, gettext, sentence
from app.models import Dataset, User
from app.settings import get_settings
from labs.files.kinds import SUFFIXES
from labs.formats import FORMATS


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file or pasted rows were not kept."""

    title: str
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class Pasted:
    """What stands in the box for a few rows, and the example it began with."""

    name: str = ""
    text: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class DatasetsPage:
    """All datasets one may use, and the upload. Rendered by datasets/index.html."""

    datasets: Sequence[Dataset]
    owners: Mapping[UUID, str]
    shares: Mapping[UUID, Sequence[Shared]]
    filters: DatasetFilters
    formats: Mapping[str, str]
    earlier: str | None
    following: str | None
    refused_file: Refusal | None
    refused_rows: Refusal | None
    upload_field: str
    suffixes: str
    largest: str
    pasted: Pasted
    examples: Mapping[str, tuple[str, str]]


def datasets_page(
    session: Session,
    actor: User,
    filters: DatasetFilters,
    refused: AppError | None = None,
    pasted: Pasted | None = None,
) -> DatasetsPage:
    """The list; with what was refused at the form it came from."""
    datasets, has_more = queries.page_of_datasets(session, actor, filters)
    pasted = pasted or Pasted()
    told = _refusal(refused)
    is_pasted = bool(refused) and any(error.field == PASTED for error in _errors(refused))
    return DatasetsPage(
        datasets=datasets,
        owners=queries.owner_names(session, datasets),
        shares=shares_of(session, actor, datasets),
        filters=filters,
        formats={each.name: each.title for each in reversed(FORMATS)},
        earlier=filters.address(filters.page - 1) if filters.page > 1 else None,
        following=filters.address(filters.page + 1) if has_more else None,
        refused_file=None if is_pasted else told,
        refused_rows=told if is_pasted else None,
        upload_field=FIELD,
        suffixes=",".join(SUFFIXES),
        largest=bytes_(get_settings().max_upload_bytes),
        pasted=with_example(pasted),
        examples=EXAMPLES,
    )


def title_of(dataset: Dataset) -> str:
    """What a list to choose from calls a dataset: later versions say which they are."""
    title = gettext(dataset.title or dataset.name)
    if dataset.version == 1:
        return title
    return sentence(N_("{title} (version {number})"), {"title": title, "number": dataset.version})


def with_example(pasted: Pasted) -> Pasted:
    """The box filled with the example that was asked for, if nothing stands in it."""
    if pasted.text or pasted.example not in EXAMPLES:
        return pasted
    return Pasted(pasted.name, EXAMPLES[pasted.example][1], pasted.example)


def _refusal(refused: AppError | None) -> Refusal | None:
    if refused is None:
        return None
    problems = [sentence(each.message, each.values) for each in _errors(refused)]
    return Refusal(sentence(refused.message, refused.values), problems)


def _errors(refused: AppError | None) -> Sequence[FieldError]:
    return refused.errors if isinstance(refused, InvalidInput) else ()
