"""Starting a scoreboard: one run for each method, all or none."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidInput
from app.groups.start import start_group
from app.i18n import N_
from app.models import GroupKind, RunGroup, User
from app.scoreboards.plan import (
    BUDGET,
    RATE,
    RATES,
    Outlook,
    Wanted,
    chosen_labs,
    default_name,
    errors_of,
    outlooks,
)

Json = dict[str, Any]


def start_scoreboard(
    session: Session, actor: User, wanted: Wanted, key: str | None = None
) -> RunGroup:
    """Queue one run for each method, in the transaction of the caller; the same key, once.

    Raises:
        InvalidInput: With every field that does not hold, and each method that cannot take part.
        Conflict: If the key has made something else.
        TooMany: If there is not room for all of them.
        Unavailable: If the disk could not take them all.
    """
    labs = chosen_labs(wanted)
    _check_names("budget", wanted.budget, BUDGET)
    _check_names(RATES, wanted.rates, [lab.slug for lab in labs])
    found = outlooks(session, actor, wanted, labs)
    if errors := errors_of(found):
        raise InvalidInput(errors)
    if not wanted.name.strip():
        wanted = replace(wanted, name=default_name(found))
        found = outlooks(session, actor, wanted, labs)
    return start_group(
        session,
        actor,
        GroupKind.SCOREBOARD,
        wanted.name,
        None,
        _spec(wanted, found),
        [each.submission for each in found],
        key,
    )


def _check_names(field: str, given: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        told = N_("“{name}” has no place here. There are: {known}.")
        values = {"name": unknown[0][:60], "known": ", ".join(known)}
        raise InvalidInput([FieldError(field, told, values)])


def _spec(wanted: Wanted, found: list[Outlook]) -> Json:
    """All that was asked for, with what was left out filled in."""
    params = {
        each.lab.slug: each.checked.params.model_dump(mode="json") for each in found if each.checked
    }
    first = found[0].checked
    assert first is not None, "nothing that was refused comes here"
    return {
        "methods": list(params),
        "budget": {name: params[found[0].lab.slug][name] for name in BUDGET},
        "learning_rates": {slug: own[RATE] for slug, own in params.items()},
        "base_model": str(first.base_model.id),
        "dataset": str(first.dataset.id),
        "seed": found[0].submission.seed,
        "alone": wanted.alone,
    }
