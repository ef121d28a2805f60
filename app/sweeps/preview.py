"""What a sweep would be, beside its form: its runs, its budget, or what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.catalogue import sent
from app.errors import AppError, InvalidInput
from app.i18n import sentence
from app.models import User
from app.sweeps.form import asked_for
from app.sweeps.start import Budget, budget_of
from labs.contract import Lab


@dataclass(frozen=True, slots=True)
class Preview:
    """The runs of a sweep before it starts. Rendered by sweeps/_preview.html.

    Attributes:
        lacking: How many runs more than there is room for.
    """

    budget: Budget | None
    problems: Sequence[str]
    lacking: int = 0


def preview_of(session: Session, actor: User, lab: Lab, entered: sent.Entered) -> Preview:
    try:
        budget = budget_of(session, actor, asked_for(lab, entered))
    except InvalidInput as refusal:
        told = [sentence(error.message, error.values) for error in refusal.errors]
        return Preview(None, list(dict.fromkeys(told)))
    except AppError as refusal:
        return Preview(None, [sentence(refusal.message, refusal.values)])
    queued = budget.runs - (budget.finished if budget.reuse else 0)
    lacking = 0 if budget.room is None else max(0, queued - budget.room)
    return Preview(budget, (), lacking)
