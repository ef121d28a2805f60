"""Every SELECT of base models for people, and of the runs that started from one."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from app.access import visible
from app.errors import NotFound
from app.i18n import N_
from app.models import LanguageModel, Run, User

RUNS_SHOWN = 8


def offered() -> ColumnElement[bool]:
    """Models that runs may start from: here, and not taken out of the library."""
    return and_(LanguageModel.path != "", LanguageModel.retired_at.is_(None))


def list_models(session: Session, search: str = "") -> Sequence[LanguageModel]:
    """The models of the library, those that come with Bunsen first."""
    statement = select(LanguageModel).where(offered())
    if search:
        named = LanguageModel.name.icontains(search, autoescape=True)
        architecture = LanguageModel.facts["architecture"].as_string()
        built = architecture.icontains(search, autoescape=True)
        source = LanguageModel.hub_id.icontains(search, autoescape=True)
        statement = statement.where(or_(named, built, source))
    return session.scalars(_in_order(statement)).all()


def retired(session: Session) -> Sequence[LanguageModel]:
    """Models that were taken out."""
    statement = select(LanguageModel).where(LanguageModel.retired_at.is_not(None))
    return session.scalars(_in_order(statement)).all()


def arriving(session: Session) -> Sequence[LanguageModel]:
    """Models that are on their way from the hub, in the order they were asked for."""
    statement = select(LanguageModel).where(LanguageModel.path == "")
    return session.scalars(statement.order_by(LanguageModel.created_at, LanguageModel.id)).all()


def get_model(session: Session, model_id: UUID, writing: bool = False) -> LanguageModel:
    """A model that is here, in the library or taken out; `NotFound` else."""
    model = session.get(LanguageModel, model_id, with_for_update=writing or None)
    if model is None or not model.path:
        raise NotFound(N_("There is no such base model."))
    return model


def runs_from(session: Session, actor: User, model: LanguageModel) -> tuple[Sequence[Run], int]:
    """The newest runs that started from a model and that the actor may see, and how many."""
    mine = (visible(actor), Run.base_model_id == model.id)
    newest = select(Run).where(*mine).order_by(Run.id.desc()).limit(RUNS_SHOWN)
    counted = select(func.count()).select_from(Run).where(*mine)
    return session.scalars(newest).all(), session.scalar(counted) or 0


def _in_order(statement: Select[LanguageModel]) -> Select[LanguageModel]:
    return statement.order_by(LanguageModel.bundled.desc(), LanguageModel.name)
