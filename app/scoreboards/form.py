"""The form that starts a scoreboard, as its page shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from sqlalchemy.orm import Session
from starlette.datastructures import FormData, QueryParams

from app.catalogue.queries import usable_models
from app.catalogue.sent import read_seed
from app.datasets.queries import list_datasets
from app.errors import AppError, InvalidInput
from app.forms import Field, Values, as_text, param_fields
from app.i18n import N_, gettext, sentence
from app.models import Dataset, LanguageModel, User
from app.runs import queries
from app.runs.quota import Use, own_use
from app.scoreboards.naming import method_name
from app.scoreboards.plan import (
    BUDGET,
    DEFAULT_SEED,
    METHODS,
    RATE,
    RATES,
    Outlook,
    Wanted,
    budget_defaults,
    default_of,
    errors_of,
    methods,
    outlooks,
)
from labs.contract import Lab

# Of a form that was sent, where a box that is missing is not ticked.
CHOSEN, WISHED = "chosen", "wished"


@dataclass(frozen=True, slots=True)
class Entered:
    """The texts of the form's fields and its ticked methods; None before anybody chose.

    `wished` are those that could not be ticked for the base or dataset that was chosen last.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    methods: Sequence[str] | None = None
    wished: Sequence[str] = ()
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def alone(self) -> bool:
        return self.methods is None or self.texts.get("alone") == "true"


@dataclass(frozen=True, slots=True)
class MethodLine:
    """One method of the form. `reason` says why it cannot take part; then it is left out, and
    chosen again where another base or dataset serves it."""

    lab: Lab
    name: str
    rate: Field
    is_chosen: bool
    is_wished: bool
    reason: str
    seconds: Sequence[float] | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class ScoreboardForm:
    """A scoreboard before it starts. Rendered by scoreboards/new.html; block `choice` also alone.

    `room` is how many more runs may wait; None where nothing limits them.
    """

    lines: Sequence[MethodLine]
    inputs: Sequence[Field]
    budget: Sequence[Field]
    about: Sequence[Field]
    alone: Field
    error: str
    wrong: Sequence[Field]
    methods_error: str
    count: int
    seconds: Sequence[float] | None
    use: Use
    room: int | None
    key: str


def read_form(sent: FormData | QueryParams) -> Entered:
    """What somebody sent, as a form or in an address."""
    texts = {name: _clean(value) for name, value in sent.items() if isinstance(value, str)}
    chosen, wished = (
        [each for each in sent.getlist(name) if isinstance(each, str)] for name in (METHODS, WISHED)
    )
    return Entered(
        texts=texts,
        methods=chosen if CHOSEN in texts or chosen else None,
        wished=wished,
        key=texts.get("idempotency_key", "")[:128] or uuid4().hex,
    )


def wanted_of(entered: Entered) -> Wanted:
    """The sent form as a scoreboard.

    Raises:
        InvalidInput: If the seed is no number.
    """
    texts, chosen = entered.texts, entered.methods or ()
    rates = {slug: texts.get(f"{RATES}.{slug}", "").strip() for slug in chosen}
    return Wanted(
        methods=chosen,
        base_model=texts.get("base_model") or None,
        dataset=texts.get("dataset") or None,
        budget={name: texts[name].strip() for name in BUDGET if name in texts},
        rates={slug: text for slug, text in rates.items() if text},
        seed=read_seed(texts.get("seed", "")),
        name=texts.get("name", ""),
        alone=entered.alone,
    )


def scoreboard_form(
    session: Session, actor: User, entered: Entered, refusal: AppError | None = None
) -> ScoreboardForm:
    """The form with these values, and what is wrong with them; nothing entered is lost."""
    labs = methods()
    models, datasets = usable_models(session), list_datasets(session, actor)
    texts = _texts(session, actor, labs, entered, models, datasets)
    found = _looked(session, actor, replace(entered, texts=texts), labs)
    errors = [*(refusal.errors if isinstance(refusal, InvalidInput) else ())]
    if refusal is None:
        errors += [each for each in errors_of(found) if each.field != METHODS]
    values = Values(texts, errors)
    lines = [_line(each, entered, values) for each in found]
    inputs = [values.put(each) for each in _inputs(models, datasets)]
    budget = [values.put(each) for each in _budget(labs)]
    about = [values.put(each) for each in _about()]
    chosen = [line for line in lines if line.is_chosen and line.seconds]
    rates = [line.rate for line in lines]
    shown = {each.name for each in (*inputs, *budget, *about, *rates)} | {METHODS}
    rest = [sentence(each.message, each.values) for each in errors if each.field not in shown]
    use = own_use(session, actor)
    own = "" if errors or refusal is None else sentence(refusal.message, refusal.values)
    return ScoreboardForm(
        lines=lines,
        inputs=inputs,
        budget=budget,
        about=about,
        alone=values.put(_alone(entered)),
        error=" ".join(filter(None, (own, *rest))),
        wrong=[each for each in (*inputs, *budget, *about, *rates) if each.error],
        methods_error=values.error(METHODS),
        count=sum(line.is_chosen for line in lines),
        seconds=_sum([line.seconds for line in chosen if line.seconds]),
        use=use,
        room=_room(use),
        key=entered.key,
    )


def _room(use: Use) -> int | None:
    return None if use.waiting_limit is None else max(0, use.waiting_limit - use.waiting)


def _clean(text: str) -> str:
    """No database takes a NUL character."""
    return text.replace("\0", "")


def _looked(session: Session, actor: User, entered: Entered, labs: Sequence[Lab]) -> list[Outlook]:
    """All methods with what was entered, chosen or not: a reason is shown for each that cannot."""
    everyone = replace(entered, methods=[lab.slug for lab in labs])
    texts = {name: text for name, text in entered.texts.items() if name != "seed"}
    wanted = wanted_of(replace(everyone, texts=texts))
    return outlooks(session, actor, replace(wanted, alone=False), labs)


def _line(outlook: Outlook, entered: Entered, values: Values) -> MethodLine:
    checked, slug = outlook.checked, outlook.lab.slug
    reason = outlook.reason
    wished = entered.methods is None or slug in (*entered.methods, *entered.wished)
    return MethodLine(
        lab=outlook.lab,
        name=method_name(outlook.lab),
        rate=values.put(_rate(outlook.lab)),
        is_chosen=wished and not reason,
        is_wished=wished,
        reason=reason,
        seconds=checked.estimate["seconds"] if checked else None,
        memory_bytes=checked.estimate["memory_bytes"] if checked else None,
    )


def _rate(lab: Lab) -> Field:
    kind = next(each for each in param_fields(lab.params, Values()) if each.name == RATE)
    return replace(kind, name=f"{RATES}.{lab.slug}", value=as_text(default_of(lab, RATE)))


def _sum(ranges: Sequence[Sequence[float]]) -> list[float] | None:
    if not ranges:
        return None
    return [sum(each[0] for each in ranges), sum(each[1] for each in ranges)]


def _texts(
    session: Session,
    actor: User,
    labs: Sequence[Lab],
    entered: Entered,
    models: Sequence[LanguageModel],
    datasets: Sequence[Dataset],
) -> dict[str, str]:
    """What was entered over the defaults; base and dataset by id, also where a name was given."""
    asked = entered.texts
    model = asked.get("base_model") or _first(labs, "default_model", models)
    dataset = asked.get("dataset") or _first(labs, "default_dataset", datasets)
    known_model = queries.find_model(session, model)
    known_dataset = queries.find_dataset(session, actor, dataset)
    return {
        **{name: as_text(value) for name, value in budget_defaults(labs).items()},
        "seed": str(DEFAULT_SEED),
        **asked,
        "base_model": str(known_model.id) if known_model else model,
        "dataset": str(known_dataset.id) if known_dataset else dataset,
    }


def _first(
    labs: Sequence[Lab], default: str, found: Sequence[LanguageModel] | Sequence[Dataset]
) -> str:
    """The labs' own, or the first there is."""
    own = str(getattr(labs[0], default)) if labs else ""
    is_there = any(each.name == own for each in found)
    return own if is_there or not found else str(found[0].id)


def _inputs(models: Sequence[LanguageModel], datasets: Sequence[Dataset]) -> list[Field]:
    return [
        Field(
            "base_model",
            gettext(N_("Base model")),
            "select",
            choices=[(str(model.id), model.name) for model in models],
            help=gettext(N_("The same for all methods.")),
        ),
        Field(
            "dataset",
            gettext(N_("Dataset")),
            "select",
            choices=[(str(each.id), gettext(each.title or each.name)) for each in datasets],
            help=gettext(N_("The same rows, in the same order, for all methods.")),
        ),
    ]


def _budget(labs: Sequence[Lab]) -> list[Field]:
    if not labs:
        return []
    fields = {each.name: each for each in param_fields(labs[0].params, Values())}
    return [fields[name] for name in BUDGET]


def _about() -> list[Field]:
    return [
        Field(
            "name",
            gettext(N_("Name")),
            help=gettext(N_("So that you find it again. Left empty, it is named for you.")),
        ),
        Field(
            "seed",
            gettext(N_("Seed")),
            "number",
            step="1",
            help=gettext(N_("One for all methods: it decides the order of the rows.")),
        ),
    ]


def _alone(entered: Entered) -> Field:
    told = N_(
        "Each run has a device to itself, one after another, so that nothing else slows it down. Without it they may run beside each other: sooner done, but speed, time and latency say less."
    )
    return Field(
        "alone",
        gettext(N_("Measure each alone")),
        "checkbox",
        value="true" if entered.alone else "false",
        help=gettext(told),
    )
