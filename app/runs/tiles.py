"""The figures of a run: a few as tiles, all in a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.i18n import N_, gettext, sentence
from app.lineage.judged import BEFORE
from app.metrics.store import LatestValue
from app.models import Run
from app.runs.measure import measured
from labs.contract import Lab, Metric

MOST_TILES = 6
# What compression is about: what the result still knows, how large it is and how fast.
JUDGED = (
    "test/perplexity",
    "test/accuracy",
    "test/agreement",
    "artifact/bytes",
    "serve/first_token_seconds",
    "serve/inter_token_seconds",
    "latency/mean_seconds",
    "throughput/generated_tokens_per_second",
    "memory/peak_bytes",
)
# In this order, after the lab's own headline, where the lab logs them.
WORTH_A_TILE = (
    "eval/loss",
    "train/loss",
    "eval/accuracy",
    "eval/perplexity",
    "model/trainable_fraction",
    "memory/peak_bytes",
    "throughput/tokens_per_second",
    "artifact/bytes",
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure. `key` and `unit` let the page keep it up to date."""

    key: str
    title: str
    value: str
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of a finished or running run, in the units people read."""

    key: str
    title: str
    first: str
    lowest: str
    highest: str
    newest: str
    step: int


def tiles(run: Run, lab: Lab, values: Mapping[str, LatestValue]) -> list[Tile]:
    """The headline and the usual figures; a dash until a value is known."""
    declared = {metric.key for metric in lab.metrics}
    first = JUDGED if lab.chapter == "compression" else ()
    keys = dict.fromkeys((lab.headline, *first, *WORTH_A_TILE))
    chosen = [lab.metric(key) for key in keys if key in declared][:MOST_TILES]
    return [_tile(metric, values) for metric in chosen]


def measurements(lab: Lab, values: Mapping[str, LatestValue]) -> list[Measurement]:
    """Every logged metric, in the lab's order."""
    order = {metric.key: place for place, metric in enumerate(lab.metrics)}
    keys = sorted(values, key=lambda key: (order.get(key, len(order)), key))
    return [_measurement(lab.metric(key), values[key]) for key in keys]


def _tile(metric: Metric, values: Mapping[str, LatestValue]) -> Tile:
    value, before = values.get(metric.key), values.get(BEFORE.get(metric.key, ""))
    return Tile(
        key=metric.key,
        title=gettext(metric.title),
        value=measured(value.value, metric.unit) if value else "–",
        unit=metric.unit,
        note=_note(metric, value, before),
    )


def _note(metric: Metric, value: LatestValue | None, before: LatestValue | None) -> str:
    """What it was before, or where it started, for what is meant to get better."""
    if value is not None and before is not None:
        return sentence(N_("before: {value}"), {"value": measured(before.value, metric.unit)})
    if value is None or metric.direction == "none" or value.minimum == value.maximum:
        return ""
    return sentence(N_("at the start {value}"), {"value": measured(value.first, metric.unit)})


def _measurement(metric: Metric, value: LatestValue) -> Measurement:
    def words(number: float | None) -> str:
        return measured(number, metric.unit)

    return Measurement(
        key=metric.key,
        title=gettext(metric.title),
        first=words(value.first),
        lowest=words(value.minimum),
        highest=words(value.maximum),
        newest=words(value.value),
        step=value.step,
    )


def headline(lab: Lab, values: Mapping[str, LatestValue]) -> tuple[str, str] | None:
    """The lab's headline metric in words: its title and its newest value."""
    value = values.get(lab.headline)
    if value is None:
        return None
    metric = lab.metric(lab.headline)
    return gettext(metric.title), measured(value.value, metric.unit)


def order_of(keys: Sequence[str], lab: Lab) -> list[str]:
    """Keys in the order the lab declares them, others after."""
    declared = [metric.key for metric in lab.metrics if metric.key in keys]
    return [*declared, *sorted(set(keys) - set(declared))]
