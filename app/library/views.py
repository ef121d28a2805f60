"""The pages of base models: what their templates are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.accounts.views import told_errors
from app.errors import AppError
from app.library import hub, queries
from app.library.acceptance import Acceptance, acceptances
from app.library.standing import check_files
from app.models import LanguageModel, Role, Run, User
from labs.contract import LabError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A model in the list; `problem` says why no run can start from it now."""

    model: LanguageModel
    problem: Json | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A model on its way from the hub."""

    model: LanguageModel
    progress: hub.Progress


@dataclass(frozen=True, slots=True)
class Sent:
    """What an admin wrote into one of the forms."""

    name: str = ""
    folder: str = ""
    hub_id: str = ""
    revision: str = ""
    hub_name: str = ""


@dataclass(frozen=True, slots=True)
class LibraryPage:
    """The models of this site, and how an admin adds one. Rendered by library/index.html."""

    lines: Sequence[ModelLine]
    arrivals: Sequence[Arrival]
    retired: Sequence[LanguageModel]
    search: str
    online: bool
    manages: bool
    sent: Sent = field(default_factory=Sent)
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelPage:
    """Everything known of a model. Rendered by library/show.html."""

    model: LanguageModel
    facts: Mapping[str, Any]
    folder: str
    problem: Json | None
    labs: Sequence[Acceptance]
    runs: Sequence[Run]
    run_count: int
    manages: bool
    error: str = ""


def library_page(
    session: Session,
    actor: User,
    search: str = "",
    sent: Sent | None = None,
    error: AppError | None = None,
) -> LibraryPage:
    manages = actor.role is Role.ADMIN
    return LibraryPage(
        lines=[ModelLine(each, problem_of(each)) for each in queries.list_models(session, search)],
        arrivals=arrivals(session, manages),
        retired=queries.retired(session) if manages else (),
        search=search,
        online=hub.is_online(),
        manages=manages,
        sent=sent or Sent(),
        errors=told_errors(error),
    )


def arrivals(session: Session, manages: bool) -> list[Arrival]:
    """What is on its way from the hub; what went wrong is for those who can do something."""
    found = [Arrival(each, hub.progress_of(each)) for each in queries.arriving(session)]
    return [each for each in found if manages or not each.progress.problem]


def model_page(session: Session, actor: User, model: LanguageModel) -> ModelPage:
    runs, count = queries.runs_from(session, actor, model)
    return ModelPage(
        model=model,
        facts=model.facts,
        folder=Path(model.path).name,
        problem=problem_of(model),
        labs=acceptances(session, model),
        runs=runs,
        run_count=count,
        manages=actor.role is Role.ADMIN,
    )


def problem_of(model: LanguageModel) -> Json | None:
    """What is wrong with a model's files, as a stored sentence."""
    try:
        check_files(model)
    except LabError as error:
        return {"message": error.message, "values": error.values}
    return None
