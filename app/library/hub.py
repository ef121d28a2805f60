"""Models that an admin asked for from the hub: a row each from the asking on.

Until its files are here a row has no path, and its facts hold how far it is. Cancelling deletes
it; the housekeeper (workers/downloads.py) sees that and stops. Every write of the housekeeper is
guarded by the row still waiting.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.audit.record import record
from app.errors import Conflict, FieldError, InvalidInput
from app.i18n import N_
from app.library.queries import arriving
from app.library.register import name_errors
from app.models import LanguageModel, User
from app.settings import get_settings

Json = dict[str, Any]
PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
HUB_ID = re.compile(rf"{PART}/{PART}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
MOST_AT_ONCE = 20
PHASES = ("asking", "fetching", "checking")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a model is. `phase` is waiting or one of PHASES; `revision` what was asked for,
    `commit` what that is; bytes are those of the wanted files."""

    revision: str = ""
    phase: str = "waiting"
    done: int = 0
    total: int | None = None
    commit: str = ""
    problem: Json | None = None

    @property
    def fraction(self) -> float | None:
        """The share of the bytes that is here, where the whole is known."""
        return min(1.0, self.done / self.total) if self.total else None


def progress_of(model: LanguageModel) -> Progress:
    """How far a model that is on its way is."""
    known = model.facts.get("fetching", {})
    return Progress(**{name: known[name] for name in Progress.__slots__ if name in known})


def is_online() -> bool:
    """Whether this site may ask the hub."""
    return get_settings().hub == "online"


def ask_for(
    session: Session, actor: User, hub_id: str, revision: str = "", name: str = ""
) -> LanguageModel:
    """Note a model of the hub to be fetched; the housekeeper does the rest.

    Raises:
        InvalidInput: With what is wrong with the id, the revision or the name.
        Conflict: If this site may not ask the hub, or enough are on their way.
    """
    require(actor, Action.MANAGE_LIBRARY)
    if not is_online():
        raise Conflict(N_("The hub is switched off on this site (BUNSEN_HUB=offline)."))
    if len(arriving(session)) >= MOST_AT_ONCE:
        raise Conflict(N_("Enough models are on their way. Wait for them or cancel some."))
    name = name or hub_id.rpartition("/")[2]
    errors = [*_wrong_address(hub_id, revision)]
    if not errors:
        wrong = name_errors(session, name)
        errors += [FieldError("hub_name", each.message, each.values) for each in wrong]
    if errors:
        raise InvalidInput(errors)
    model = LanguageModel(
        name=name, path="", facts=_stored(Progress(revision)), origin="hub", hub_id=hub_id,
        created_at=clock.now(),
    )  # fmt: skip
    session.add(model)
    session.flush()
    record(session, actor, "model.fetch", name, hub=hub_id, revision=revision)
    return model


def _wrong_address(hub_id: str, revision: str) -> list[FieldError]:
    errors = []
    if HUB_ID.fullmatch(hub_id) is None or ".." in hub_id or "--" in hub_id:
        errors.append(FieldError("hub_id", N_("An id of the hub reads owner/name.")))
    if revision and (REVISION.fullmatch(revision) is None or ".." in revision):
        sentence = N_("A revision is a branch, a tag or a commit of the model.")
        errors.append(FieldError("revision", sentence))
    return errors


def cancel(session: Session, actor: User, model_id: UUID) -> None:
    """Forget a model that is on its way, and what of it is here.

    Raises:
        Conflict: If it has arrived meanwhile, or is gone.
    """
    require(actor, Action.MANAGE_LIBRARY)
    gone = delete(LanguageModel).where(*_waits(model_id)).returning(LanguageModel.name)
    name = session.scalar(gone)
    if name is None:
        raise Conflict(N_("This model is no longer on its way."))
    record(session, actor, "model.cancel", name)


def try_again(session: Session, actor: User, model_id: UUID) -> None:
    """Go on with a model that could not be fetched, where it stopped.

    Raises:
        Conflict: If nothing is wrong with it, or it is gone.
    """
    require(actor, Action.MANAGE_LIBRARY)
    model = session.get(LanguageModel, model_id, with_for_update=True)
    if model is None or model.path or not progress_of(model).problem:
        raise Conflict(N_("This model is no longer on its way."))
    found = progress_of(model)
    model.facts = _stored(Progress(found.revision, done=found.done, total=found.total))


def note(session: Session, model_id: UUID, progress: Progress) -> bool:
    """Write down how far a model is; False if it was cancelled."""
    return _change(session, model_id, facts=_stored(progress))


def arrive(
    session: Session, model_id: UUID, path: str, facts: Mapping[str, Any], commit: str, license: str
) -> bool:
    """Put a model whose files are here and sound into the library; False if it was cancelled."""
    values = {"path": path, "facts": dict(facts), "revision": commit, "license": license}
    return _change(session, model_id, **values)


def _change(session: Session, model_id: UUID, **values: Any) -> bool:
    changed = update(LanguageModel).where(*_waits(model_id)).values(**values)
    return session.scalar(changed.returning(LanguageModel.id)) is not None


def _waits(model_id: UUID) -> tuple[Any, ...]:
    return LanguageModel.id == model_id, LanguageModel.path == "", LanguageModel.origin == "hub"


def _stored(progress: Progress) -> Json:
    return {"fetching": asdict(progress)}
