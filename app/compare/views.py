"""Runs beside each other: what was varied, and what it did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.compare.address import address
from app.compare.colours import Mark, marks
from app.compare.pareto import Pareto, pareto_of
from app.compare.varied import Varied, varied
from app.i18n import N_, gettext
from app.lineage.judged import BEFORE, QUALITIES, judged
from app.metrics.store import LatestValue, MetricFrame, latest, read
from app.models import Run, User
from app.runs import queries
from app.runs.beside import Beside, beside_untouched
from app.runs.charts import Chart, Line, chart_of, embedded, series_of
from app.runs.labs_of import lab_of
from app.runs.measure import measured
from app.runs.shown import shown
from app.runs.tiles import order_of
from labs.contract import Direction, Lab

OFFERED = 20
# Sums of few points; more runs share the picture.
POINTS = 500


@dataclass(frozen=True, slots=True)
class Column:
    """A run in the comparison; `without` is the address of the rest.

    Attributes:
        beside: What is said of it beside the untouched model, where it is no better.
    """

    run: Run
    lab: Lab
    mark: Mark
    without: str
    beside: Beside | None


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric over all runs. `best` are the places of the better values."""

    title: str
    key: str
    hint: str
    values: Sequence[str]
    best: frozenset[int]


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One prompt and what each run answered."""

    prompt: str
    expected: str
    answers: Sequence[str]


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Runs beside each other. Rendered by compare/show.html.

    Attributes:
        shares_result: Whether some of the runs took over what another of them measured.
    """

    columns: Sequence[Column]
    varied: Varied
    shares_result: bool
    metrics: Sequence[MetricRow]
    charts: Sequence[Chart]
    data: Markup
    source: str
    pareto: Pareto | None
    samples: Sequence[SampleRow]
    offered: Sequence[Run]
    ids: str


def compare_page(
    session: Session, actor: User, ids: Sequence[UUID], quality: str = "", cost: str = ""
) -> ComparePage:
    runs = [queries.get_run(session, actor, run_id) for run_id in ids]
    labs = {run.lab: lab_of(run) for run in runs}
    frames = [read(session, run.id) for run in runs]
    columns = _columns(runs, labs, frames)
    lab = all_metrics([column.lab for column in columns]) if columns else None
    keys = order_of(sorted({key for frame in frames for key in frame.columns}), lab) if lab else []
    values = latest(session, [run.id for run in runs])
    apart = judged_apart(session, runs)
    return ComparePage(
        columns=columns,
        varied=varied(runs, labs),
        shares_result=len({run.same_as_id or run.id for run in runs}) < len(runs),
        metrics=[_row(lab, key, runs, values, key in apart) for key in keys] if lab else [],
        charts=[chart_of(lab, key) for key in keys] if lab else [],
        data=_data(columns, frames, [chart_of(lab, key) for key in keys] if lab else []),
        source=" ".join(f"/api/v1/runs/{run.id}/metrics#{run.id}:" for run in runs),
        pareto=pareto_of(session, runs, quality, cost),
        samples=_samples(session, runs),
        offered=_offered(session, actor, runs),
        ids=",".join(map(str, ids)),
    )


def _columns(
    runs: Sequence[Run], labs: Mapping[str, Lab], frames: Sequence[MetricFrame]
) -> list[Column]:
    chosen = marks([run.id for run in runs])
    return [
        Column(
            run=run,
            lab=labs[run.lab],
            mark=chosen[run.id],
            without=address([each.id for each in runs if each is not run]),
            beside=beside_untouched(run, labs[run.lab], frame),
        )
        for run, frame in zip(runs, frames, strict=True)
    ]


def _row(
    lab: Lab,
    key: str,
    runs: Sequence[Run],
    values: Mapping[UUID, Mapping[str, LatestValue]],
    is_apart: bool,
) -> MetricRow:
    metric = lab.metric(key)
    newest = [values[run.id][key].value if key in values[run.id] else None for run in runs]
    hints: dict[Direction, str] = {
        "lower": gettext("lower is better"),
        "higher": gettext("higher is better"),
        "none": "",
    }
    return MetricRow(
        title=gettext(metric.title),
        key=key,
        hint=gettext(N_("judged on other rows or text")) if is_apart else hints[metric.direction],
        values=[measured(value, metric.unit) for value in newest],
        best=best_places(newest, "none" if is_apart else metric.direction),
    )


def judged_apart(session: Session, runs: Sequence[Run]) -> frozenset[str]:
    """Keys of figures that the runs measured on different rows, or in text that was read differently."""
    found = list(judged(session, runs).values())
    return frozenset(
        name
        for key in QUALITIES
        if any(not found[0].compares(other, key) for other in found[1:])
        for name in (key, BEFORE[key])
    )


def best_places(values: Sequence[float | None], direction: Direction) -> frozenset[int]:
    """Places of the best value; none where all are equal or nothing is better."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if direction == "none" or len(finite) < 2 or min(finite) == max(finite):
        return frozenset()
    best = min(finite) if direction == "lower" else max(finite)
    return frozenset(place for place, value in enumerate(values) if value == best)


def all_metrics(labs: Sequence[Lab]) -> Lab:
    """The first lab, with metrics of the others after its own."""
    own = {metric.key for metric in labs[0].metrics}
    others = {metric.key: metric for lab in labs[1:] for metric in lab.metrics}
    more = (metric for key, metric in others.items() if key not in own)
    return replace(labs[0], metrics=(*labs[0].metrics, *more))


def _data(
    columns: Sequence[Column], frames: Sequence[MetricFrame], charts: Sequence[Chart]
) -> Markup:
    lines, series = [], {}
    for column, frame in zip(columns, frames, strict=True):
        for chart in charts:
            key = chart.keys[0]
            line = Line(
                id=f"{column.run.id}:{key}",
                chart=chart.name,
                label=column.run.name,
                color=column.mark.colour,
                dash=column.mark.dash,
            )
            lines.append(line)
            series[line.id] = series_of(frame, key, POINTS)
    return embedded(lines, series)


def _samples(session: Session, runs: Sequence[Run]) -> list[SampleRow]:
    """Prompts that at least two of the runs have answered."""
    answers = [_answers(session, run) for run in runs]
    prompts = dict.fromkeys(prompt for found in answers for prompt in found)
    return [
        SampleRow(
            prompt=prompt,
            expected=next(
                (str(found[prompt].get("expected") or "") for found in answers if prompt in found),
                "",
            ),
            answers=[_text(found.get(prompt)) for found in answers],
        )
        for prompt in prompts
        if sum(prompt in found for found in answers) > 1
    ]


def _answers(session: Session, run: Run) -> dict[str, dict[str, Any]]:
    events = queries.events(session, run.id, kinds=["samples"])
    rows = [row for samples in shown(events).samples for row in samples["rows"]]
    return {str(row["prompt"]): row for row in rows if "prompt" in row and _is_answered(row)}


def _is_answered(row: Mapping[str, Any]) -> bool:
    """Not so are rows of training data, which say what is learned."""
    return "tuned" in row or "base" in row


def _text(row: Mapping[str, Any] | None) -> str:
    """The answer; empty where the model said nothing."""
    return "–" if row is None else str(row["tuned"] if "tuned" in row else row["base"])


def _offered(session: Session, actor: User, runs: Sequence[Run]) -> list[Run]:
    """Recent runs of the same lab that are not in the comparison yet."""
    known = {run.id for run in runs}
    lab = runs[0].lab if runs else None
    found, _cursor = queries.list_runs(session, actor, lab=lab, limit=OFFERED + len(runs))
    return [run for run in found if run.id not in known]
