"""What the page of one dataset shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from app.access import Action, can
from app.catalogue.queries import usable_models
from app.datasets import queries
from app.datasets.balance import LabelBalance, label_balance
from app.datasets.lines import Line, lines_around
from app.datasets.rows import NumberedRow, RowsPage, StoredRows
from app.datasets.shares import Shared, possible_classes, shares_of
from app.datasets.tokens import Reader, Rendered, TokenLengths
from app.datasets.upload import uses
from app.errors import NotFound, Unavailable
from app.i18n import N_, sentence
from app.models import Classroom, Dataset, LanguageModel, Run, User
from labs import registry
from labs.contract import Lab
from labs.profile import Profile
from labs.splits import split_files


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows somebody wants to see, and through which base model."""

    page: int = 1
    split: str = ""
    model: UUID | None = None

    def query(self, page: int, model: LanguageModel | None) -> str:
        """The same view of another page, as it stands in an address."""
        parts = [f"page={page}", *([f"split={self.split}"] if self.split else [])]
        return "&".join([*parts, *([f"model={model.id}"] if model else [])])


@dataclass(frozen=True, slots=True)
class RowsView:
    """A page of rows as a base model reads them. `told` says why it cannot be shown.

    Splits map to their rows; `can_filter` if the rows of one can be shown alone.
    """

    asked: Asked
    found: RowsPage | None
    rendered: Sequence[tuple[NumberedRow, Rendered]]
    splits: Mapping[str, int]
    can_filter: bool
    model: LanguageModel | None
    models: Sequence[LanguageModel]
    earlier: str | None
    following: str | None
    told: str


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """One dataset. Rendered by datasets/show.html; `used_by` counts everybody's runs."""

    dataset: Dataset
    owner: str
    versions: Sequence[Dataset]
    rows: RowsView
    profile: Profile
    has_profile: bool
    lengths: TokenLengths | None
    balance: LabelBalance | None
    runs: Sequence[Run]
    run_count: int
    used_by: int
    is_own: bool
    labs: Sequence[Lab]
    shares: Sequence[Shared]
    may_end: frozenset[UUID]
    classes: Sequence[Classroom]
    files: Mapping[str, str]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class RowsBlock:
    """The rows alone, for the page to put in place."""

    dataset: Dataset
    rows: RowsView


@dataclass(frozen=True, slots=True)
class DeletionPage:
    """Asks once more. Rendered by datasets/delete.html."""

    dataset: Dataset
    used_by: int


def rows_view(session: Session, dataset: Dataset, asked: Asked) -> RowsView:
    """A page of rows; a file that cannot be read is told of, the rest of the page stands."""
    models = usable_models(session)
    model = _chosen(models, asked.model)
    reader, stored = Reader(model), StoredRows(dataset)
    told, found = reader.told, None
    try:
        found = stored.page(asked.page, asked.split)
    except Unavailable as error:
        told = sentence(error.message, error.values)
    return RowsView(
        asked=asked,
        found=found,
        rendered=[(row, reader.render(row.example)) for row in (found.rows if found else ())],
        splits=stored.sizes,
        can_filter=stored.can_filter,
        model=model,
        models=models,
        earlier=asked.query(found.page - 1, model) if found and found.page > 1 else None,
        following=asked.query(found.page + 1, model) if found and found.page < found.pages else None,
        told=told,
    )  # fmt: skip


def dataset_page(
    session: Session,
    actor: User,
    dataset: Dataset,
    asked: Asked,
    line: int | None = None,
    file: str | None = None,
) -> DatasetPage:
    """The whole page; the first page of rows unless another is asked for."""
    rows = rows_view(session, dataset, asked)
    stored = StoredRows(dataset)
    runs, run_count = queries.runs_of(session, actor, dataset)
    shares = shares_of(session, actor, [dataset]).get(dataset.id, ())
    is_own = dataset.owner_id == actor.id
    possible = possible_classes(session, actor)
    known = {each.classroom for each in shares}
    owners = queries.owner_names(session, [dataset])
    return DatasetPage(
        dataset=dataset,
        owner=owners[dataset.owner_id] if dataset.owner_id else "",
        versions=queries.versions_of(session, actor, dataset),
        rows=rows,
        profile=stored.profile,
        has_profile="profile" in dataset.verdict,
        lengths=_lengths(rows, dataset),
        balance=label_balance(stored.profile),
        runs=runs,
        run_count=run_count,
        used_by=uses(session, dataset),
        is_own=is_own,
        labs=[lab for lab in registry.all_labs() if dataset.format in lab.accepts.formats],
        shares=shares,
        may_end=frozenset(known if is_own else known & _steered(actor, possible)),
        classes=[each for each in possible if is_own and each.id not in known],
        files={split: path.name for split, path in split_files(stored.path).items()},
        lines=lines_around(dataset, line, file),
    )


def _steered(actor: User, possible: Sequence[Classroom]) -> set[UUID]:
    """Of those a person may share with, the classes they steer."""
    return {each.id for each in possible} if can(actor, Action.MANAGE_CLASS) else set()


def _lengths(rows: RowsView, dataset: Dataset) -> TokenLengths | None:
    if rows.found is None:
        return None
    return Reader(rows.model).lengths(dataset)


def _chosen(models: Sequence[LanguageModel], wanted: UUID | None) -> LanguageModel | None:
    if wanted is None:
        return models[0] if models else None
    found = next((each for each in models if each.id == wanted), None)
    if found is None:
        raise NotFound(N_("There is no such base model."))
    return found
