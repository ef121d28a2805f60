"""The audit log in words: a sentence for each act, and what there is to know beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from markupsafe import Markup

from app.audit.queries import Row
from app.classrooms.limits import TITLES
from app.i18n import N_, gettext, number, told
from app.models import AuditEntry
from app.queue.spans import roughly

# What somebody did; `{target}` is a run with a link, a person, a class, a device or a model.
SENTENCES: Mapping[str, str] = {
    "boost_run": N_("moved {target} up in the queue"),
    "unboost_run": N_("put {target} back in line"),
    "cancel_run": N_("cancelled {target}"),
    "delete_run": N_("deleted {target}"),
    "release_run": N_("let {target} try again"),
    "endpoint_key_made": N_("made a key to the endpoint of {target}"),
    "endpoint_key_revoked": N_("revoked a key to the endpoint of {target}"),
    "endpoint_extended": N_("kept the endpoint of {target} open longer"),
    "endpoint_closed": N_("closed the endpoint of {target}"),
    "class_created": N_("made the class {target}"),
    "class_joined": N_("added people to the class {target}"),
    "class_left": N_("took somebody out of the class {target}"),
    "session_scheduled": N_("scheduled a lab session of {target}"),
    "session_changed": N_("changed a lab session of {target}"),
    "session_ended": N_("ended or called off a lab session of {target}"),
    "limits_changed": N_("changed the limits of {target}"),
    "device_drained": N_("drained the device {target}"),
    "device_paused": N_("paused the device {target}"),
    "device_active": N_("put the device {target} back in service"),
    "device_fault": N_("took the device {target} out of service for a fault"),
    "user.add": N_("added {target}"),
    "user.link": N_("made a one-time link for {target}"),
    "user.disable": N_("disabled the account of {target}"),
    "user.enable": N_("enabled the account of {target}"),
    "password.change": N_("set the password of {target}"),
    "token.create": N_("made an API token of {target}"),
    "token.delete": N_("deleted an API token of {target}"),
    "dataset_shared": N_("shared the dataset {target} with a class"),
    "dataset_unshared": N_("took the dataset {target} back from a class"),
    "model.register": N_("added the base model {target}"),
    "model.fetch": N_("asked the hub for the base model {target}"),
    "model.cancel": N_("stopped fetching the base model {target}"),
    "model.check": N_("checked the files of the base model {target} again"),
    "model.retire": N_("took the base model {target} out of the library"),
    "model.return": N_("brought the base model {target} back"),
}
NAMES: Mapping[str, str] = {
    **TITLES,
    "offers_same_work": N_("Offer results of the same work"),
    "starts": N_("From"),
    "ends": N_("Until"),
    "before": N_("Until then"),
    "had_begun": N_("Had begun"),
    "reason": N_("Reason"),
    "role": N_("Role"),
    "people": N_("People"),
    "person": N_("Person"),
    "runs": N_("Runs"),
    "folder": N_("Folder"),
    "hub": N_("Hub"),
    "revision": N_("Revision"),
    "classroom": N_("Class"),
}
WHOLE_CLASS = frozenset({"max_waiting", "max_running", "max_device_seconds"})
Fact = tuple[str, str | datetime]


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the log. A fact is a name with a text or an instant."""

    at: datetime
    who: str | None
    sentence: Markup
    facts: Sequence[Fact]


def line(row: Row, runs: Mapping[UUID, tuple[str, str]]) -> AuditLine:
    """A row in words; `runs` gives name and owner of the runs that rows are about."""
    entry = row.entry
    template = gettext(SENTENCES.get(entry.action, "{action} {target}"))
    target = _target(entry.target, runs)
    return AuditLine(
        at=entry.at,
        who=row.name,
        sentence=Markup(template).format(target=target, action=entry.action),
        facts=_facts(entry),
    )


def run_id(entry: AuditEntry) -> UUID | None:
    """The run that an entry is about, if it is about one."""
    try:
        return UUID(entry.target)
    except ValueError:
        return None


def _target(text: str, runs: Mapping[UUID, tuple[str, str]]) -> Markup:
    known = {str(key): value for key, value in runs.items()}.get(text)
    if known is None:
        return Markup("<strong>{}</strong>").format(text)
    name, owner = known
    return Markup('<a href="/runs/{}">{}</a> ({})').format(text, name, owner)


def _facts(entry: AuditEntry) -> list[Fact]:
    detail = entry.detail
    if {"message", "values"} <= detail.keys():
        return [(gettext(NAMES["reason"]), told(detail))]
    if entry.action == "limits_changed":
        return [_change(name, detail) for name in detail["after"]]
    hidden = {"owner"} if entry.action.endswith("_run") else set()
    return [
        (gettext(NAMES.get(name, name)), _value(value))
        for name, value in detail.items()
        if name not in hidden and value not in ("", None)
    ]


def _change(name: str, detail: Mapping[str, Any]) -> Fact:
    scope = gettext(N_("class")) if name in WHOLE_CLASS else gettext(N_("each person"))
    title = gettext(NAMES[name])
    title = title if name == "offers_same_work" else f"{title} ({scope})"
    return title, f"{_limit(name, detail['before'][name])} → {_limit(name, detail['after'][name])}"


def _limit(name: str, value: bool | int | None) -> str:
    if isinstance(value, bool):
        return gettext(N_("yes")) if value else gettext(N_("no"))
    if value is None:
        return gettext(N_("no limit")) if name in WHOLE_CLASS else gettext(N_("the site's"))
    return roughly(value) if "seconds" in name else number(value)


def _value(value: Any) -> str | datetime:
    if isinstance(value, bool):
        return _limit("", value)
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return str(value)
