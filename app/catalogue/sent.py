"""What a run form holds: where its first values come from, and what a sent one says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from starlette.datastructures import FormData

from app.catalogue.starts import RUN
from app.errors import FieldError, InvalidInput
from app.forms import COMPLETE, param_texts, param_values
from app.i18n import N_
from app.identities import as_uuid
from app.models import Run
from app.runs.submit import Submission
from labs.contract import Lab

CHOSEN = ("base_model", "dataset")
SETTING = "set."
ALL = "all"


@dataclass(frozen=True, slots=True)
class Entered:
    """The texts of a form's fields, its ticked stages, and which rendering it was.

    In a complete form an unticked box is simply missing; others leave the rest to the lab.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[str] | None = None
    key: str = field(default_factory=lambda: uuid4().hex)
    parent: str = ""
    complete: bool = False


def first_values(lab: Lab, preset: str | None) -> Entered:
    """The lab's defaults, or one of its presets over them."""
    return Entered(texts=param_texts(lab.presets.get(preset or "", {})))


def values_of(run: Run, lab: Lab) -> Entered:
    """The values of an earlier run, to run it again with changes."""
    known = {name: value for name, value in run.params.items() if name in lab.params.model_fields}
    texts = {
        **param_texts(known),
        "base_model": str(run.base_model_id),
        "dataset": str(run.dataset_id),
        "seed": str(run.seed),
        "name": run.name,
    }
    parent = str(run.parent_run_id) if run.parent_run_id else ""
    return Entered(texts=texts, stages=[str(stage) for stage in run.stages], parent=parent)


def read(form: FormData) -> Entered:
    """What somebody sent; files stay with the form."""
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    stages = [stage for stage in form.getlist("stages") if isinstance(stage, str)]
    return Entered(
        texts=texts,
        stages=stages if COMPLETE in texts else None,
        key=texts.get("idempotency_key", "")[:128] or uuid4().hex,
        parent=_parent(texts),
        complete=COMPLETE in texts,
    )


def _parent(texts: Mapping[str, str]) -> str:
    """The run to go on from, where one is chosen in place of a base model."""
    chosen = texts.get("base_model", "")
    named = as_uuid(chosen.removeprefix(RUN)) if chosen.startswith(RUN) else None
    return str(named) if named else ""


def opened(entered: Entered, query: Mapping[str, str]) -> Entered:
    """A form as an address opens it: `parent`, `base_model`, `dataset`, and `set.NAME` for
    parameters, `stages=all`."""
    chosen = {name: text for name in CHOSEN if (text := query.get(name))}
    settings = {
        name.removeprefix(SETTING): text for name, text in query.items() if name.startswith(SETTING)
    }
    parent = query.get("parent") or ("" if "base_model" in chosen else entered.parent)
    stages = None if query.get("stages") == ALL else entered.stages
    texts = {**entered.texts, **settings, **chosen}
    return replace(entered, texts=texts, parent=parent, stages=stages)


def submission(lab: Lab, entered: Entered) -> Submission:
    """The sent form as the one door takes it."""
    texts = entered.texts
    return Submission(
        lab=lab.slug,
        params=param_values(lab.params, texts),
        stages=entered.stages,
        base_model=None if entered.parent else texts.get("base_model") or None,
        dataset=texts.get("dataset") or None,
        seed=read_seed(texts.get("seed", "")),
        parent_run=as_uuid(entered.parent),
        name=texts.get("name", ""),
        idempotency_key=entered.key,
        reuse=texts.get("reuse") == "1",
    )


def read_seed(text: str) -> int | None:
    """The seed that somebody typed; None where they left it open."""
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        problem = FieldError("seed", N_("A seed is a whole number, not “{text}”."), {"text": text})
        raise InvalidInput([problem]) from None
