"""The controls of the form that starts a scoreboard."""

from collections.abc import Sequence
from dataclasses import replace

from app.catalogue.form import about_fields
from app.datasets.views import title_of
from app.forms import Field, Values, as_text, param_fields
from app.i18n import N_, gettext
from app.models import Dataset, LanguageModel
from app.scoreboards.plan import BUDGET, RATE, RATES, default_of
from labs.contract import Lab


def rate_field(lab: Lab) -> Field:
    """A method's own learning rate, with its default."""
    kind = next(each for each in param_fields(lab.params, Values()) if each.name == RATE)
    return replace(kind, name=f"{RATES}.{lab.slug}", value=as_text(default_of(lab, RATE)))


def input_fields(models: Sequence[LanguageModel], datasets: Sequence[Dataset]) -> list[Field]:
    """Base model and dataset, chosen by id."""
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
            choices=[(str(each.id), title_of(each)) for each in datasets],
            help=gettext(N_("The same rows, in the same order, for all methods.")),
        ),
    ]


def budget_fields(labs: Sequence[Lab]) -> list[Field]:
    """What is equal for all, as the labs' parameters describe it."""
    if not labs:
        return []
    fields = {each.name: each for each in param_fields(labs[0].params, Values())}
    return [fields[name] for name in BUDGET]


def named_fields() -> list[Field]:
    """Name and seed."""
    told = N_("One for all methods: it decides the order of the rows.")
    return about_fields(gettext(told))


def alone_field(alone: bool) -> Field:
    """Whether each run has its device to itself."""
    told = N_(
        "Each run has a device to itself, one after another, so that nothing else slows it down. Without it they may run beside each other: sooner done, but speed, time and latency say less."
    )
    return Field(
        "alone",
        gettext(N_("Measure each alone")),
        "checkbox",
        value="true" if alone else "false",
        help=gettext(told),
    )
