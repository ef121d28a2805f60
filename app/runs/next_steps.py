"""What a person can do after an end: each step as a button, with what it would need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from app.access import Action, can
from app.i18n import N_
from app.models import Run, RunState, User
from app.runs import choices
from app.runs.causes import Step
from app.runs.choices import Choice, lab_and_params
from app.runs.costs import Pricing, free_bytes
from app.runs.kept import latest_checkpoint
from app.runs.preflight.start import start_folder
from labs.contract import Lab, LabError, Params
from labs.estimate import Lengths
from labs.models import read_facts

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Next:
    """One thing to do. `href` is a page for "get", and takes `fields` for "post"."""

    step: Step
    title: str
    method: Literal["get", "post"]
    href: str
    values: Json = field(default_factory=dict)
    fields: Json = field(default_factory=dict)
    changes: Json | None = None
    estimate: Json | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A run that ended, and who looks at it."""

    session: Session
    actor: User
    run: Run

    @property
    def is_own(self) -> bool:
        return self.run.owner_id == self.actor.id

    @property
    def may_repeat(self) -> bool:
        return self.is_own and self.run.state.is_over


def next_steps(case: Case, steps: Sequence[Step]) -> list[Next]:
    """The buttons of these steps that this person may press now."""
    return [found for step in steps for found in MAKERS[step](case)]


def _again(case: Case) -> Iterable[Next]:
    if case.may_repeat and lab_and_params(case.run):
        yield _repetition(case, Step.AGAIN, choices.again())


def _change(case: Case) -> Iterable[Next]:
    href = f"/labs/{case.run.lab}/runs/new?from={case.run.id}"
    if lab_and_params(case.run):
        yield Next(Step.CHANGE, N_("Change parameters"), "get", href)


def _less_memory(case: Case) -> Iterable[Next]:
    known = lab_and_params(case.run)
    if not case.may_repeat or known is None:
        return
    pricing = pricing_of(case.session, case.run, known[0])
    if pricing is None:
        return
    free = free_bytes(case.session, pricing.devices)
    for choice, estimate in _worthwhile(case.run, known, pricing):
        devices = [{**each, "fits_now": _now(each, estimate, free)} for each in estimate["devices"]]
        yield _repetition(case, Step.LESS_MEMORY, choice, {**estimate, "devices": devices})


def _worthwhile(
    run: Run, known: tuple[Lab, Params], pricing: Pricing
) -> Iterable[tuple[Choice, Json]]:
    """The choices that save memory, or reserve more where a device has it; priced."""
    lab, params = known
    saving = {each.name for each in pricing.alternatives(params)}
    largest = max((each.memory_bytes for each in pricing.devices), default=0)
    for choice in choices.less_memory(run, params):
        if choice.name in saving or 0 < (choice.reserve_bytes or 0) <= largest:
            changed = lab.params.model_validate({**params.model_dump(), **choice.changes})
            yield choice, pricing.estimate(changed, choice.reserve_bytes)


def _now(device: Json, estimate: Json, free: Mapping[str, int]) -> bool:
    return bool(estimate["memory_bytes"] <= free.get(device["name"], 0))


def _calmer(case: Case) -> Iterable[Next]:
    known = lab_and_params(case.run)
    if case.may_repeat and known is not None:
        for choice in choices.calmer(known[1]):
            yield _repetition(case, Step.CALMER, choice)


def _shorter(case: Case) -> Iterable[Next]:
    known = lab_and_params(case.run)
    if case.may_repeat and known is not None:
        for choice in choices.shorter(case.run, known[1]):
            yield _repetition(case, Step.SHORTER, choice)


def _continue(case: Case) -> Iterable[Next]:
    known = lab_and_params(case.run)
    if case.may_repeat and known is not None and latest_checkpoint(case.run.id):
        for choice in choices.continuing(case.run, known[1]):
            yield _repetition(case, Step.CONTINUE, choice)


def _dataset(case: Case) -> Iterable[Next]:
    values = (case.run.reason or {}).get("values") or {}
    href = f"/datasets/{case.run.dataset_id}"
    line = values.get("line")
    if not isinstance(line, int):
        yield Next(Step.DATASET, N_("Open the dataset"), "get", href)
        return
    query = urlencode({"line": line, "file": values.get("file", "")})
    title = N_("Open the dataset at line {line}")
    yield Next(Step.DATASET, title, "get", f"{href}?{query}#line-{line}", {"line": line})


def _report(case: Case) -> Iterable[Next]:
    yield Next(
        Step.REPORT, N_("A report for your instructor"), "get", f"/runs/{case.run.id}/report"
    )


def _release(case: Case) -> Iterable[Next]:
    held = case.run.state is RunState.HELD
    if held and can(case.actor, Action.RELEASE_RUN, case.run.owner_id):
        yield Next(Step.RELEASE, N_("Let it try again"), "post", f"/runs/{case.run.id}/release")


def _repetition(case: Case, step: Step, choice: Choice, estimate: Json | None = None) -> Next:
    return Next(
        step=step,
        title=choice.title,
        method="post",
        href=f"/runs/{case.run.id}/resubmission",
        values=choice.changes,
        fields={"variant": choice.name},
        changes=choice.changes,
        estimate=estimate,
    )


def pricing_of(session: Session, run: Run, lab: Lab) -> Pricing | None:
    """Prices for shapes of a run; None when what it started from is no longer on the disk."""
    try:
        facts = read_facts(start_folder(session, run, lab))
    except (LabError, OSError):
        return None
    stored = run.estimate.get("lengths")
    return Pricing(session, lab, facts, run.base_model, Lengths(**stored) if stored else None)


MAKERS: Mapping[Step, Callable[[Case], Iterable[Next]]] = {
    Step.AGAIN: _again,
    Step.CHANGE: _change,
    Step.LESS_MEMORY: _less_memory,
    Step.CALMER: _calmer,
    Step.SHORTER: _shorter,
    Step.CONTINUE: _continue,
    Step.DATASET: _dataset,
    Step.REPORT: _report,
    Step.RELEASE: _release,
}
