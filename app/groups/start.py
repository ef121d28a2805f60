"""Starting runs as one: all of them are queued, or none is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database import all_or_nothing
from app.errors import Conflict, InvalidInput
from app.i18n import N_
from app.models import GroupKind, RunGroup, User, new_id
from app.runs import quota
from app.runs.preflight.fields import check_plain
from app.runs.submit import Submission, submit_all

Json = dict[str, Any]


def start_group(
    session: Session,
    actor: User,
    kind: GroupKind,
    name: str,
    lab: str | None,
    spec: Mapping[str, Any],
    submissions: Sequence[Submission],
    idempotency_key: str | None = None,
) -> RunGroup:
    """Queue all of these runs as one group, in the transaction of the caller, or none of them.

    Places are given in the order of `submissions`. The same key with the same `spec` gives the
    same group again, so `spec` says everything that was asked for. Limits hold as for runs that
    are started one by one.

    Raises:
        InvalidInput: With each field that does not hold in some run, once, and the runs' names.
        Conflict: If the key has made another group.
        TooMany: If there is not room for all of them; it says for how many there is.
        Unavailable: If the disk could not take them all.
    """
    asked: Json = json.loads(json.dumps(spec))
    if errors := check_plain(Submission(lab or "", name=name, idempotency_key=idempotency_key)):
        raise InvalidInput(errors)
    classroom = quota.take_turn(session, actor)
    if known := _earlier(session, actor, idempotency_key):
        return _the_same(known, kind, lab, asked)
    group = RunGroup(
        id=new_id(),
        owner_id=actor.id,
        idempotency_key=idempotency_key,
        kind=kind,
        name=name.strip(),
        lab=lab,
        spec=asked,
        created_at=clock.now(),
    )
    placed = [replace(each, group=(group.id, at)) for at, each in enumerate(submissions)]
    with all_or_nothing(session):
        # First the runs: only what they were found to hold may stand in the row of the group.
        submit_all(session, actor, classroom, placed)
        session.add(group)
        session.flush()
    return group


def _earlier(session: Session, actor: User, key: str | None) -> RunGroup | None:
    if key is None:
        return None
    mine = select(RunGroup).where(RunGroup.owner_id == actor.id)
    return session.scalar(mine.where(RunGroup.idempotency_key == key))


def _the_same(known: RunGroup, kind: GroupKind, lab: str | None, asked: Json) -> RunGroup:
    if (known.kind, known.lab, known.spec) == (kind, lab, asked):
        return known
    told = N_(
        "This key was already used for other runs, “{name}”. Nothing was started: send a new key with new runs."
    )
    raise Conflict(told, name=known.name)
