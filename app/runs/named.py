"""What parameters of a stored run name, by the names people know."""

from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.access import visible
from app.models import Dataset, LanguageModel, Run, RunResource, User


def named_by(session: Session, actor: User, run_id: UUID) -> dict[str, str]:
    """The names of further models and datasets, by parameter; not of runs that the actor may not
    see (any more)."""
    name = func.coalesce(LanguageModel.name, Dataset.name, case((visible(actor), Run.name)))
    found = session.execute(
        select(RunResource.name, name)
        .outerjoin(LanguageModel, LanguageModel.id == RunResource.model_id)
        .outerjoin(Dataset, Dataset.id == RunResource.dataset_id)
        .outerjoin(Run, Run.id == RunResource.used_run_id)
        .where(RunResource.run_id == run_id, name.is_not(None))
    )
    return dict(found.all())
