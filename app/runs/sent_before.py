"""A form or body that comes a second time: the same key gives the same run."""

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.i18n import N_
from app.models import Dataset, LanguageModel, Run, User
from app.runs.fields import read_params
from labs import registry

if TYPE_CHECKING:
    from app.runs.submit import Submission


def sent_before(session: Session, actor: User, submission: "Submission") -> Run | None:
    """The run that this key has made already; `Conflict` where that was another or is deleted."""
    key = submission.idempotency_key
    if key is None or not key.isprintable():
        return None  # nothing was ever kept under such a key, and Postgres does not even look
    known = session.scalar(select(Run).where(Run.owner_id == actor.id, Run.idempotency_key == key))
    if known is not None and known.deleted_at is not None:
        raise Conflict(
            N_(
                "The run “{name}” that this key has made was deleted. Send a new key with a new run."
            ),
            name=known.name,
        )
    if known is not None and not _asks_for(session, submission, known):
        raise Conflict(
            N_(
                "This key was already used for another run, “{name}”. Nothing was started: send a new key with a new run."
            ),
            name=known.name,
        )
    return known


def _asks_for(session: Session, submission: "Submission", run: Run) -> bool:
    """Whether the run is what is asked for: sent twice, it is the same run; changed, it is not."""
    if submission.lab != run.lab or submission.seed not in (None, run.seed):
        return False
    lab = registry.get(run.lab)
    params, _ = read_params(lab.params, submission.params)
    base_model = session.get_one(LanguageModel, run.base_model_id)
    dataset = session.get_one(Dataset, run.dataset_id)
    return (
        params is not None
        and params.model_dump(mode="json") == run.params
        and (submission.base_model or lab.default_model) in (base_model.name, str(base_model.id))
        and (submission.dataset or lab.default_dataset) in (dataset.name, str(dataset.id))
    )
