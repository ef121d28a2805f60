"""What can be made next of what a run left, each in one click."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from app.i18n import N_, gettext
from app.models import Artifact, Run, RunState
from app.runs.labs_of import lab_of
from app.sweeps.ready import ReadySweep, ready_sweep
from labs import registry
from labs.contract import WHOLE_MODELS, Lab, LabError

Json = dict[str, Any]
# Whoever opens a model from its run's page comes to speak with it: it waits so long for that.
SERVED_FOR_SECONDS = "600"


@dataclass(frozen=True, slots=True)
class Offer:
    """A lab that takes what a run left. `settings` are parameters that differ from its own."""

    lab: str
    title: str
    help: str
    settings: Mapping[str, str] = field(default_factory=dict)


PRUNE = Offer("pruning", N_("Prune it"), N_("zeros in place of weights"))
QUANTIZE = Offer("quantization", N_("Quantize it"), N_("fewer bits for each weight"))
TUNE = Offer("lora", N_("Fine-tune it with LoRA"), N_("a small update on top"))
RECOVER = Offer("lora", N_("Recover it with LoRA"), N_("learn back what the zeros cost"))
TEACH = Offer("distillation", N_("Let a student learn from it"), N_("a smaller model, taught"))
SERVE = Offer(
    "serve",
    N_("Serve it"),
    N_("speak with it over an OpenAI-compatible address"),
    {"wait_seconds": SERVED_FOR_SECONDS},
)


@dataclass(frozen=True, slots=True)
class Way:
    """One thing to do: a link to a form that is filled in."""

    title: str
    help: str
    href: str


@dataclass(frozen=True, slots=True)
class Onward:
    """The card “What next” of a run. Rendered by runs/show/_onward.html."""

    ways: Sequence[Way]
    sweep: ReadySweep | None

    def as_json(self) -> list[Json]:
        ways: list[Json] = [
            {"title": gettext(each.title), "method": "GET", "href": each.href} for each in self.ways
        ]
        if self.sweep:
            fields = {name: text for name, text in self.sweep.fields if name != "idempotency_key"}
            told = {"title": gettext(self.sweep.title), "method": "POST", "href": self.sweep.href}
            ways.append({**told, "body": fields})
        return ways


def onward_of(run: Run, artifacts: Sequence[Artifact]) -> Onward | None:
    """What the lab's successors could do with the artifacts; None where they take none of them."""
    if run.state is not RunState.SUCCEEDED:
        return None
    kinds = {each.kind for each in artifacts}
    ways = list(_merge_first(run, kinds)) or list(_ways(run, kinds))
    sweep = _sweep(run, kinds)
    return Onward(ways, sweep) if ways or sweep else None


def _ways(run: Run, kinds: set[str]) -> Iterator[Way]:
    for offer in _offers(run, kinds):
        lab = _known(offer.lab)
        if lab is None:
            continue
        if offer is TEACH:
            yield Way(offer.title, offer.help, _href(lab, run, {"set.teacher": str(run.id)}))
        elif kinds & lab.accepts.parents:
            settings = {f"set.{name}": value for name, value in offer.settings.items()}
            yield Way(offer.title, offer.help, _href(lab, run, {"parent": str(run.id), **settings}))


def _offers(run: Run, kinds: set[str]) -> Iterable[Offer]:
    """In the order of the course; a lab's own result is not offered to it again."""
    if not kinds & WHOLE_MODELS:
        return [SERVE] if "quantized" in kinds else []
    if run.lab == PRUNE.lab:
        return [QUANTIZE, RECOVER, SERVE]
    if run.lab == TEACH.lab:
        return [PRUNE, QUANTIZE, SERVE]
    return [PRUNE, QUANTIZE, TEACH, TUNE, SERVE]


def _merge_first(run: Run, kinds: set[str]) -> Iterator[Way]:
    """An adapter alone is no model: its run with the stage that merges leaves one."""
    lab = lab_of(run)
    if kinds & {*WHOLE_MODELS, "quantized"} or not WHOLE_MODELS & set(lab.produces):
        return
    missing = [stage for stage in lab.stages if stage.name not in run.stages]
    if missing and "adapter" in lab.produces:
        query = urlencode({"from": run.id, "stages": "all"})
        yield Way(
            N_("Run it again with all stages"),
            N_("it left an adapter only; merged, it can be pruned, quantized and served"),
            f"/labs/{lab.slug}/runs/new?{query}",
        )


def _sweep(run: Run, kinds: set[str]) -> ReadySweep | None:
    """Of what a pruning run started from, else of what this one left."""
    lab = _known(PRUNE.lab)
    if lab is None:
        return None
    dataset = [("dataset", str(run.dataset_id))] if _takes_rows(lab, run) else []
    if run.lab == lab.slug:
        start = f"run:{run.parent_run_id}" if run.parent_run_id else str(run.base_model_id)
        return ready_sweep(lab, [("base_model", start), *dataset], str(run.seed), like=run)
    if not kinds & lab.accepts.parents:
        return None
    return ready_sweep(lab, [("base_model", f"run:{run.id}"), *dataset], str(run.seed))


def _href(lab: Lab, run: Run, query: Mapping[str, str]) -> str:
    """The form with the same rows, where the lab takes them, so that the results compare."""
    rows = {"dataset": str(run.dataset_id)} if _takes_rows(lab, run) else {}
    return f"/labs/{lab.slug}/runs/new?{urlencode({**query, **rows})}"


def _takes_rows(lab: Lab, run: Run) -> bool:
    return run.dataset.format in lab.accepts.formats


def _known(slug: str) -> Lab | None:
    try:
        return registry.get(slug)
    except LabError:
        return None
