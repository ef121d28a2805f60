"""The form that starts a sweep: what it shows, and what a sent one asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.catalogue import sent
from app.catalogue.form import RunForm, run_form
from app.errors import AppError, FieldError, InvalidInput
from app.forms import Field, Values
from app.i18n import N_, gettext
from app.invalid import short
from app.models import User
from app.sweeps.asked import Asked, Method, Span, Vary
from app.sweeps.plan import MOST_PARAMETERS, MOST_RUNS
from app.sweeps.suggestions import Suggestion, suggestions
from app.sweeps.values import field_of
from labs.contract import Lab

if TYPE_CHECKING:
    from app.sweeps.preview import Preview

LIST, LINEAR, LOG = "list", "linear", "log"
# Before names of the sweep's own, which a lab's parameters may have too.
OWN = "sweep."
DEFAULT_RUNS = "8"


@dataclass(frozen=True, slots=True)
class AxisForm:
    """One parameter that may vary: which, and how its values are said."""

    place: int
    parameter: Field
    how: Field
    values: Field
    low: Field
    high: Field
    count: Field

    @property
    def fields(self) -> tuple[Field, ...]:
        return (self.parameter, self.how, self.values, self.low, self.high, self.count)


@dataclass(frozen=True, slots=True)
class SweepForm:
    """A sweep before it starts. Rendered by sweeps/new.html.

    Attributes:
        run: What all its runs share, as the form of one run shows it.
        suggestions: Of each parameter, values that are worth a try.
        preview: What would start, where somebody without JavaScript asked for it.
    """

    lab: Lab
    run: RunForm
    axes: Sequence[AxisForm]
    suggestions: Mapping[str, Suggestion]
    method: Field
    runs: Field
    draw_seed: Field
    reuse: bool
    error: str
    wrong: Sequence[Field]
    key: str
    preview: "Preview | None" = None


def sweep_form(
    session: Session,
    actor: User,
    lab: Lab,
    entered: sent.Entered,
    refusal: AppError | None = None,
) -> SweepForm:
    """The form with these values, and what is wrong with them; nothing entered is lost."""
    run = run_form(session, actor, lab, entered, refusal)
    errors = _errors(refusal)
    offered = suggestions(lab, entered.texts)
    values = Values({**_first_texts(offered), **entered.texts}, errors)
    axes = [_axis(values, lab, place, offered) for place in range(MOST_PARAMETERS)]
    method, runs, draw_seed = (values.put(each) for each in _drawing())
    wrong = [field for axis in axes for field in axis.fields if field.error]
    wrong += [field for field in (method, runs, draw_seed) if field.error]
    about_all = " ".join(filter(None, (run.error, values.error("vary"))))
    return SweepForm(
        lab=lab,
        run=run,
        axes=axes,
        suggestions=offered,
        method=method,
        runs=runs,
        draw_seed=draw_seed,
        reuse=entered.texts.get("reuse") == "1",
        error=about_all,
        wrong=[*wrong, *run.wrong],
        key=entered.key,
    )


def asked_for(lab: Lab, entered: sent.Entered) -> Asked:
    """What a sent form asks for.

    Raises:
        InvalidInput: Where a number is none.
    """
    texts = entered.texts
    problems: list[FieldError] = []
    vary = [
        _vary(lab, texts, f"vary.{place}", problems)
        for place in range(MOST_PARAMETERS)
        if texts.get(f"vary.{place}.parameter")
    ]
    method: Method = "random" if texts.get(f"{OWN}method") == "random" else "grid"
    random = method == "random"
    runs = _whole(texts, f"{OWN}runs", problems) if random else None
    draw_seed = _whole(texts, f"{OWN}draw_seed", problems) if random else 0
    if problems:
        raise InvalidInput(problems)
    return Asked(sent.submission(lab, entered), vary, method, runs, draw_seed or 0)


def _errors(refusal: AppError | None) -> list[FieldError]:
    """What is wrong with the fields, by their names in the form."""
    found = refusal.errors if isinstance(refusal, InvalidInput) else ()
    own = {"method", "runs", "draw_seed"}
    return [replace(e, field=f"{OWN}{e.field}") if e.field in own else e for e in found]


def _first_texts(offered: Mapping[str, Suggestion]) -> dict[str, str]:
    """A form that nobody has filled in yet varies the first parameter that there is."""
    first = next(iter(offered), "")
    return {"vary.0.parameter": first, f"{OWN}runs": DEFAULT_RUNS}


def _axis(values: Values, lab: Lab, place: int, offered: Mapping[str, Suggestion]) -> AxisForm:
    at = f"vary.{place}"
    titles = [(name, each.title) for name, each in offered.items()]
    nothing = [("", gettext(N_("Nothing else")))] if place else []
    parameter = values.put(
        Field(f"{at}.parameter", gettext(N_("Parameter")), "select", choices=[*nothing, *titles])
    )
    chosen = offered.get(parameter.value)
    first = {"values": chosen.values, "from": chosen.low, "to": chosen.high} if chosen else {}
    own = Values({**{f"{at}.{n}": t for n, t in first.items()}, **values.texts}, values.errors)
    how = Field(
        f"{at}.how",
        gettext(N_("Its values")),
        "select",
        LIST,
        choices=[
            (LIST, gettext(N_("A list of values"))),
            (LINEAR, gettext(N_("A range, equal steps"))),
            (LOG, gettext(N_("A range, equal ratios"))),
        ],
    )
    listed = Field(
        f"{at}.values",
        gettext(N_("Values")),
        help=gettext(N_("Separated by commas; sets of names by semicolons.")),
    )
    numbers = [
        Field(f"{at}.from", gettext(N_("From")), "number"),
        Field(f"{at}.to", gettext(N_("To")), "number"),
        Field(f"{at}.count", gettext(N_("How many")), "number", "5", step="1"),
    ]
    low, high, count = (own.put(each) for each in numbers)
    return AxisForm(place, parameter, values.put(how), own.put(listed), low, high, count)


def _drawing() -> tuple[Field, Field, Field]:
    return (
        Field(
            f"{OWN}method",
            gettext(N_("Combinations")),
            "select",
            "grid",
            choices=[
                ("grid", gettext(N_("All of them (a grid)"))),
                ("random", gettext(N_("Some, drawn at random"))),
            ],
        ),
        Field(
            f"{OWN}runs", gettext(N_("Runs to draw")), "number", DEFAULT_RUNS, unit=f"2 – {MOST_RUNS}", step="1",
            help=gettext(N_("In a range, any number may be drawn.")),
        ),
        Field(
            f"{OWN}draw_seed", gettext(N_("Seed of the draw")), "number", "0", step="1",
            help=gettext(N_("The same seed draws the same runs.")),
        ),
    )  # fmt: skip


def _vary(lab: Lab, texts: Mapping[str, str], at: str, problems: list[FieldError]) -> Vary:
    parameter = texts[f"{at}.parameter"]
    how = texts.get(f"{at}.how", LIST)
    if how not in (LINEAR, LOG):
        return Vary(
            parameter, split_values(field_of(lab, parameter), texts.get(f"{at}.values", ""))
        )
    low, high = (_number(texts, f"{at}.{end}", problems) for end in ("from", "to"))
    count = _whole(texts, f"{at}.count", problems)
    if low is None or high is None or count is None:
        return Vary(parameter)
    return Vary(parameter, span=Span(low, high, count, "log" if how == LOG else "linear"))


def split_values(field: Field | None, text: str) -> list[str]:
    """One value after another; a value that is text, or a list itself, may hold commas."""
    holds_commas = field is not None and field.kind == "text"
    apart = ";" if holds_commas or ";" in text else ","
    words = [word.strip() for line in text.splitlines() for word in line.split(apart)]
    return [word for word in words if word]


def _number(texts: Mapping[str, str], name: str, problems: list[FieldError]) -> float | None:
    try:
        return float(texts.get(name, ""))
    except ValueError:
        problems.append(_unreadable(N_("“{value}” is not a number."), texts, name))
        return None


def _whole(texts: Mapping[str, str], name: str, problems: list[FieldError]) -> int | None:
    try:
        return int(texts.get(name, ""))
    except ValueError:
        problems.append(_unreadable(N_("“{value}” is not a whole number."), texts, name))
        return None


def _unreadable(told: str, texts: Mapping[str, str], name: str) -> FieldError:
    if not texts.get(name, "").strip():
        return FieldError(name, N_("A number is missing here."))
    return FieldError(name, told, {"value": short(texts.get(name, ""))})
