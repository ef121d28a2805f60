"""What parameters of a stored run name, by the names people know."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.models import Dataset, LanguageModel, Run, RunResource


def named_by(session: Session, run_id: UUID) -> dict[str, str]:
    """The names of further models and datasets, by parameter."""
    used = aliased(Run)
    name = func.coalesce(LanguageModel.name, Dataset.name, used.name)
    found = session.execute(
        select(RunResource.name, name)
        .outerjoin(LanguageModel, LanguageModel.id == RunResource.model_id)
        .outerjoin(Dataset, Dataset.id == RunResource.dataset_id)
        .outerjoin(used, used.id == RunResource.used_run_id)
        .where(RunResource.run_id == run_id)
    )
    return dict(found.all())
