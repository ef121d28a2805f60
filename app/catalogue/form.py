"""The form that starts a run, as its page shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.models import model_field, with_standing
from app.catalogue.sent import Entered
from app.catalogue.starts import models_left, resource_fields, with_runs
from app.catalogue.views import DEFAULT_SEED, own_names
from app.datasets.views import title_of
from app.errors import AppError, InvalidInput
from app.forms import Field, Values, param_fields
from app.i18n import N_, gettext, sentence
from app.models import Dataset, LanguageModel, User
from app.runs.quota import Use, own_use
from labs.contract import Lab, Stage, resource_kinds
from labs.files.kinds import SUFFIXES

UPLOAD = "dataset_file"


@dataclass(frozen=True, slots=True)
class RunForm:
    """A run before it starts. Rendered by labs/new.html."""

    lab: Lab
    presets: Sequence[str]
    inputs: Sequence[Field]
    basic: Sequence[Field]
    advanced: Sequence[Field]
    about: Sequence[Field]
    stages: Sequence[tuple[Stage, bool]]
    stages_error: str
    error: str
    ways: Sequence[Mapping[str, Any]]
    wrong: Sequence[Field]
    key: str
    command: str
    use: Use


def run_form(
    session: Session,
    actor: User,
    lab: Lab,
    entered: Entered,
    refusal: AppError | None = None,
) -> RunForm:
    """The form with these values, and what is wrong with them; nothing entered is lost."""
    invalid = refusal if isinstance(refusal, InvalidInput) else None
    errors = invalid.errors if invalid else ()
    error = sentence(refusal.message, refusal.values) if refusal and not errors else ""
    models = queries.usable_models(session)
    datasets = queries.usable_datasets(session, actor, lab)
    values = Values(_texts(lab, entered, models, datasets), errors)
    fields = resource_fields(session, actor, lab, param_fields(lab.params, values), models)
    named = resource_kinds(lab.params)
    params = _own_first([each for each in fields if each.name not in named], lab)
    inputs = [values.put(each) for each in _inputs(lab, entered.texts, models, datasets)]
    left = models_left(session, actor, lab.accepts.parents, also=entered.parent)
    inputs[0] = with_runs(with_standing(session, inputs[0]), left, entered.parent)
    if told := values.error("parent_run"):
        inputs[0] = replace(inputs[0], error=" ".join(filter(None, (inputs[0].error, told))))
    inputs += [each for each in fields if each.name in named]
    about = [
        values.put(each)
        for each in about_fields(gettext(N_("The same seed and parameters give the same result.")))
    ]
    return RunForm(
        lab=lab,
        presets=list(lab.presets),
        inputs=inputs,
        basic=[each for each in params if each.basic],
        advanced=[each for each in params if not each.basic],
        about=about,
        stages=[(s, entered.stages is None or s.name in entered.stages) for s in lab.stages],
        stages_error=values.error("stages"),
        error=" ".join(filter(None, (error, values.error(""), values.error("lab")))),
        ways=invalid.alternatives if invalid else (),
        wrong=[each for each in (*inputs, *params, *about) if each.error],
        key=entered.key,
        command=_command(lab, entered, values, models, datasets),
        use=own_use(session, actor),
    )


def _texts(
    lab: Lab, entered: Entered, models: Sequence[LanguageModel], datasets: Sequence[Dataset]
) -> dict[str, str]:
    bundled = [dataset for dataset in datasets if dataset.bundled]
    first = {
        "base_model": _first(models, lab.default_model),
        "dataset": _first(bundled or datasets, lab.default_dataset),
        "seed": DEFAULT_SEED,
    }
    if entered.complete:
        boxes = (f.name for f in param_fields(lab.params, Values()) if f.kind == "checkbox")
        first.update(dict.fromkeys(boxes, "false"))
    return {**first, **entered.texts}


def _first(found: Sequence[LanguageModel] | Sequence[Dataset], name: str) -> str:
    named = next((each for each in found if each.name == name), None)
    chosen = named or (found[0] if found else None)
    return str(chosen.id) if chosen else ""


def _inputs(
    lab: Lab,
    texts: Mapping[str, str],
    models: Sequence[LanguageModel],
    datasets: Sequence[Dataset],
) -> list[Field]:
    return [
        model_field(lab, texts, models),
        Field(
            "dataset",
            gettext(N_("Dataset")),
            "select",
            choices=[(str(each.id), title_of(each)) for each in datasets],
            help=gettext(N_("Those whose format this lab can learn from.")),
        ),
        Field(
            UPLOAD,
            gettext(N_("Or your own dataset")),
            "file",
            placeholder=",".join(SUFFIXES),
            help=gettext(
                N_(
                    "JSONL, such as Alpaca: instruction, input and output on each line. "
                    "It is checked first and stays in your datasets."
                )
            ),
        ),
    ]


def about_fields(seed_help: str) -> list[Field]:
    """Name and seed of what is started."""
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
            help=seed_help,
        ),
    ]


def _own_first(fields: Sequence[Field], lab: Lab) -> list[Field]:
    own = own_names(lab)
    return sorted(fields, key=lambda each: each.name not in own)


def _command(
    lab: Lab,
    entered: Entered,
    values: Values,
    models: Sequence[LanguageModel],
    datasets: Sequence[Dataset],
) -> str:
    """The command line that does the same without a server."""
    texts = values.texts
    words = ["./bunsen lab run", lab.slug, *_changed(lab, texts)]
    for option, found, key, default in (
        ("--model", models, "base_model", lab.default_model),
        ("--dataset", datasets, "dataset", lab.default_dataset),
    ):
        name = next((each.name for each in found if str(each.id) == texts[key]), default)
        words += [f"{option} {quote(name)}"] if name != default else []
    if entered.parent:
        words.append("--model ARTIFACT_FOLDER")
    if entered.stages and len(entered.stages) < len(lab.stages):
        words.append(f"--stages {quote(','.join(entered.stages))}")
    if texts["seed"] not in ("", DEFAULT_SEED):
        words.append(f"--seed {quote(texts['seed'])}")
    return " ".join(words)


def _changed(lab: Lab, texts: Mapping[str, str]) -> list[str]:
    return [
        f"--set {each.name}={quote(texts[each.name])}"
        for each in param_fields(lab.params, Values())
        if texts.get(each.name, each.value) != each.value
    ]
