"""What the pages of labs ask the database."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.library.queries import list_models
from app.models import Dataset, LanguageModel, Run, User
from app.runs.queries import datasets_for
from labs.contract import Lab


def runs_per_lab(session: Session, actor: User) -> dict[str, int]:
    """How many runs of each lab a person has started."""
    own = (Run.owner_id == actor.id, Run.deleted_at.is_(None))
    counted = select(Run.lab, func.count()).where(*own).group_by(Run.lab)
    return dict(session.execute(counted).all())


def usable_models(session: Session) -> Sequence[LanguageModel]:
    """Base models that runs may start from, bundled ones first."""
    return list_models(session)


def usable_datasets(session: Session, actor: User, lab: Lab) -> Sequence[Dataset]:
    """Datasets the person may use whose format the lab takes; own ones first, then by name."""
    statement = datasets_for(actor).where(Dataset.format.in_(sorted(lab.accepts.formats)))
    order = (Dataset.owner_id.is_(None), Dataset.name, Dataset.created_at.desc())
    return session.scalars(statement.order_by(*order)).all()
