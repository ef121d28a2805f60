"""The form that starts a scoreboard, as its page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.catalogue.queries import usable_models
from app.datasets.queries import list_datasets
from app.errors import AppError, InvalidInput
from app.forms import Field, Values, as_text
from app.i18n import sentence
from app.models import Dataset, LanguageModel, User
from app.runs import queries
from app.runs.quota import Use, own_use
from app.scoreboards.entered import Entered, wanted_of
from app.scoreboards.fields import (
    alone_field,
    budget_fields,
    input_fields,
    named_fields,
    rate_field,
)
from app.scoreboards.naming import method_name
from app.scoreboards.plan import (
    DEFAULT_SEED,
    METHODS,
    Outlook,
    budget_defaults,
    errors_of,
    methods,
    outlooks,
)
from labs.contract import Lab


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
    inputs = [values.put(each) for each in input_fields(models, datasets)]
    budget = [values.put(each) for each in budget_fields(labs)]
    about = [values.put(each) for each in named_fields()]
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
        alone=values.put(alone_field(entered.alone)),
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
        rate=values.put(rate_field(outlook.lab)),
        is_chosen=wished and not reason,
        is_wished=wished,
        reason=reason,
        seconds=checked.estimate["seconds"] if checked else None,
        memory_bytes=checked.estimate["memory_bytes"] if checked else None,
    )


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
