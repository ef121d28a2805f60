"""What a scoreboard asks for: its methods, one budget for all, and a learning rate for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from app.datasets.views import title_of
from app.devices.queries import list_devices
from app.errors import FieldError, InvalidInput
from app.i18n import N_, sentence
from app.models import User
from app.runs import preflight
from app.runs.preflight import Checked, Shared
from app.runs.preflight.fields import NAME_LENGTH
from app.runs.submit import Submission
from app.scoreboards.columns import COLUMNS
from app.scoreboards.naming import method_name
from labs import registry
from labs.contract import Lab

# Equal for all methods; each is a parameter of every one of them.
BUDGET = (
    "steps",
    "batch_size",
    "gradient_accumulation",
    "max_length",
    "evaluation_interval",
    "precision",
)
# What would make budgets differ: the number of steps is what is asked for.
FIXED: Mapping[str, Any] = {"epochs": None, "early_stopping_patience": 0}
RATE = "learning_rate"
RATES = "learning_rates"
METHODS = "methods"
DEFAULT_SEED = 0
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """A scoreboard as somebody asked for it; what is left out is the labs' own.

    Attributes:
        alone: Whether each run has its device to itself, so that its times are its own.
    """

    methods: Sequence[str]
    base_model: str | None = None
    dataset: str | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    name: str = ""
    alone: bool = True


@dataclass(frozen=True)
class Outlook:
    """What is known of one method before it starts: what it would need, or why it cannot."""

    lab: Lab
    submission: Submission
    checked: Checked | None
    errors: Sequence[FieldError]

    @cached_property
    def refusals(self) -> list[FieldError]:
        """Why this base model or dataset is not for it."""
        return [each for each in self.errors if each.field not in (*BUDGET, RATE, "name", "seed")]

    @cached_property
    def reason(self) -> str:
        """The refusals in words."""
        return " ".join(sentence(each.message, each.values) for each in self.refusals)

    @cached_property
    def own_errors(self) -> list[FieldError]:
        """What is wrong with what was entered, each at its field."""
        return [
            FieldError(f"{RATES}.{self.lab.slug}", each.message, each.values)
            if each.field == RATE
            else each
            for each in self.errors
            if each not in self.refusals
        ]


def methods() -> list[Lab]:
    """The labs that can stand on one scoreboard: they train, and share budget and measures."""
    return [lab for lab in registry.all_labs() if _is_method(lab)]


def _is_method(lab: Lab) -> bool:
    share = next(column.key for column in COLUMNS if column.name == "share")
    logged = {metric.key for metric in lab.metrics}
    return (
        lab.chapter == "training"
        and share in logged
        and {*BUDGET, *FIXED, RATE} <= set(lab.params.model_fields)
    )


def default_of(lab: Lab, name: str) -> Any:
    return lab.params.model_fields[name].default


def budget_defaults(labs: Sequence[Lab]) -> dict[str, Any]:
    """What every method gets unless told otherwise; as many steps as the slowest learner wants."""
    steps = max((default_of(lab, "steps") for lab in labs), default=None)
    return {name: default_of(labs[0], name) for name in BUDGET} | {"steps": steps} if labs else {}


def submission_of(wanted: Wanted, lab: Lab, reserve_bytes: int | None) -> Submission:
    """One method's run."""
    rate = wanted.rates.get(lab.slug, default_of(lab, RATE))
    budget = budget_defaults(methods()) | dict(wanted.budget)
    return Submission(
        lab=lab.slug,
        params={**budget, **FIXED, RATE: rate},
        base_model=wanted.base_model,
        dataset=wanted.dataset,
        seed=DEFAULT_SEED if wanted.seed is None else wanted.seed,
        name=f"{method_name(lab)} · {wanted.name}"[:NAME_LENGTH],
        reserve_bytes=reserve_bytes,
    )


def outlooks(session: Session, actor: User, wanted: Wanted, labs: Sequence[Lab]) -> list[Outlook]:
    """Each of these methods with this base, dataset and budget, without queueing anything."""
    shared = Shared(session, actor)
    reserve = _whole_device(session) if wanted.alone else None
    return [
        _outlook(session, actor, submission_of(wanted, lab, reserve), lab, shared) for lab in labs
    ]


def _outlook(
    session: Session, actor: User, submission: Submission, lab: Lab, shared: Shared
) -> Outlook:
    try:
        checked = preflight.check(session, actor, submission, shared)
        preflight.check_device(checked)
    except InvalidInput as error:
        return Outlook(lab, submission, None, error.errors)
    return Outlook(lab, submission, checked, ())


def _whole_device(session: Session) -> int | None:
    """The memory of the largest device: who reserves it has no neighbours there."""
    return max((device.memory_bytes for device in list_devices(session)), default=None)


def chosen_labs(wanted: Wanted) -> list[Lab]:
    """The labs that are asked for, each once, in the order of the registry.

    Raises:
        InvalidInput: If one is no method, or fewer than two are chosen.
    """
    known = {lab.slug: lab for lab in methods()}
    unknown = [slug for slug in wanted.methods if slug not in known]
    if unknown:
        told = N_("“{name}” is no method that can be compared. There are: {known}.")
        values = {"name": unknown[0][:60], "known": ", ".join(known)}
        raise InvalidInput([FieldError(METHODS, told, values)])
    chosen = [lab for slug, lab in known.items() if slug in wanted.methods]
    if len(chosen) < FEWEST:
        raise InvalidInput([FieldError(METHODS, N_("Choose at least two methods to compare."))])
    return chosen


def errors_of(found: Sequence[Outlook]) -> list[FieldError]:
    """What is wrong with a scoreboard of these, each thing once and at its field."""
    told: list[FieldError] = []
    refused = [each for each in found if each.refusals]
    if len(refused) == len(found) and _alike(refused):
        told += refused[0].refusals
    else:
        told += [_refused(each) for each in refused]
    for each in found:
        told += [error for error in each.own_errors if error not in told]
    return told


def _alike(refused: Sequence[Outlook]) -> bool:
    return all(each.refusals == refused[0].refusals for each in refused)


def _refused(outlook: Outlook) -> FieldError:
    told = N_("{method} cannot take part: {told}")
    values = {"method": method_name(outlook.lab), "told": outlook.reason}
    return FieldError(METHODS, told, values)


def default_name(found: Sequence[Outlook]) -> str:
    """“Customer tickets on base, 9 methods”."""
    first = next(each.checked for each in found if each.checked)
    values = {
        "dataset": title_of(first.dataset),
        "model": first.base_model.name,
        "count": len(found),
    }
    return sentence(N_("{dataset} on {model}, {count} methods"), values)[:NAME_LENGTH]
