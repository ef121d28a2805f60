"""Which metrics share a chart, and their points as the page embeds them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from app.api.series import number
from app.i18n import N_, gettext
from app.metrics.downsample import min_max
from app.metrics.store import MetricFrame
from labs.contract import Lab, Metric

# A chart is about as many pixels wide; min-max buckets keep every spike.
POINTS = 800
SIGNIFICANT_DIGITS = 7
COLOURS = 8
SPLITS = frozenset({"train", "eval", "test", "alone", "teacher"})
FAMILY_TITLES: Mapping[str, str] = {
    "loss": N_("Loss"),
    "accuracy": N_("Accuracy"),
    "memory": N_("Memory"),
    "throughput": N_("Throughput"),
    "time": N_("Time"),
    "rewards": N_("Rewards"),
    "latency": N_("Latency"),
    "distill": N_("Parts of the distillation loss"),
    "quantize": N_("Errors, layer by layer"),
    "prune": N_("Zeros and errors, layer by layer"),
    "perplexity": N_("Perplexity"),
    "serve": N_("Times of answers"),
    "artifact": N_("Size on disk"),
}
UNIT_TITLES: Mapping[str, str] = {
    "fraction": "",
    "bytes": N_("bytes"),
    "s": N_("seconds"),
}


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines that share an axis. Rendered by the macros of macros/chart.html."""

    name: str
    title: str
    unit: str
    unit_title: str
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart, for static/js/chart-grid.js; colour and dash by number."""

    id: str
    chart: str
    label: str
    color: int
    dash: int


def charts_of(lab: Lab, logged: Iterable[str]) -> list[Chart]:
    """The lab's metrics, and what was logged besides, grouped by what they measure."""
    known = [metric.key for metric in lab.metrics]
    keys = [*known, *sorted(set(logged) - set(known))]
    groups: dict[tuple[str, str], list[Metric]] = {}
    for metric in map(lab.metric, keys):
        groups.setdefault((family(metric.key), metric.unit), []).append(metric)
    return [_chart(name, metrics) for (name, _unit), metrics in groups.items()]


def chart_of(lab: Lab, key: str) -> Chart:
    """A chart of one metric alone, for several runs."""
    return _chart(key, [lab.metric(key)])


def family(key: str) -> str:
    """What a metric measures: `train/loss` and `eval/loss` are both a loss."""
    head, _, tail = key.partition("/")
    return tail if head in SPLITS and tail else head


def lines_of(charts: Sequence[Chart], lab: Lab) -> list[Line]:
    """The lines of one run: the metric is the id, its place in the chart the colour."""
    return [
        Line(key, chart.name, gettext(lab.metric(key).title), place % COLOURS, place)
        for chart in charts
        for place, key in enumerate(chart.keys)
    ]


def points_of(frame: MetricFrame) -> dict[str, Any]:
    """Every series of a run, thinned out, in JSON's terms."""
    return {key: series_of(frame, key, POINTS) for key in frame.columns}


def series_of(frame: MetricFrame, key: str, points: int) -> dict[str, list[Any]]:
    steps, values = min_max(*frame.series(key), points)
    return {"steps": steps.tolist(), "values": [_short(value) for value in values.tolist()]}


def embedded(lines: Sequence[Line], series: Mapping[str, Any]) -> Markup:
    """JSON that may stand inside a `<script>` element: nothing in it can end the element."""
    data = {"lines": [asdict(line) for line in lines], "series": series}
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _short(value: float) -> float | str | None:
    """With the digits that a chart can show."""
    told = number(value)
    return float(f"{told:.{SIGNIFICANT_DIGITS}g}") if isinstance(told, float) else told


def _chart(name: str, metrics: Sequence[Metric]) -> Chart:
    unit = metrics[0].unit
    several = gettext(FAMILY_TITLES.get(name, name))
    return Chart(
        name=re.sub(r"[^A-Za-z0-9]+", "-", f"{name} {unit}").strip("-"),
        title=gettext(metrics[0].title) if len(metrics) == 1 else several,
        unit=unit,
        unit_title=gettext(UNIT_TITLES.get(unit, unit)) if unit else "",
        keys=[metric.key for metric in metrics],
    )
