"""Perplexity against sparsity, for all methods, and what a pattern costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labs.compression.pruning.bench import Bench
from labs.compression.pruning.costs import LARGEST_COMPARED
from labs.compression.pruning.prune import prune_model
from labs.compression.pruning.refusals import refuse
from labs.compression.pruning.reports import Report, mean_error, sparsity_of
from labs.compression.pruning.spec import GROUPS, PruningParams
from labs.contract import N_, Axis, Column, Json, Series

SPARSITIES = (0.2, 0.5, 0.7)
TITLES = {
    "magnitude": N_("Magnitude"),
    "wanda": N_("Wanda"),
    "sparsegpt": N_("SparseGPT"),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One pruning of a fresh copy of the base."""

    params: PruningParams
    sparsity: float
    error: float
    perplexity: float


def show_sweep(bench: Bench, pruned: Path) -> Json:
    """Prune fresh copies at 20, 50 and 70 % by every method, and with the patterns by the run's."""
    base = bench.perplexity(bench.load())
    points = [_measured(bench, params) for params in _asked(bench)]
    columns = [
        Column("method", "Method"),
        Column("pattern", "Pattern"),
        Column("sparsity", "Weights that are zero", "fraction"),
        Column("error", "Error of a layer's outputs", "fraction"),
        Column("perplexity", "Perplexity"),
        Column("tokens", "Measured on", "tokens"),
    ]
    table = [[N_("Base"), None, 0.0, 0.0, base, bench.tokens]]
    table += [
        [
            *(TITLES[p.params.method], p.params.pattern, p.sparsity, p.error, p.perplexity),
            bench.tokens,
        ]
        for p in points
    ]
    bench.run.table("sweep", "Fresh copies of the base, pruned by other methods", columns, table)
    _plot(bench, base, points)
    told = {f"{p.params.method} {p.params.pattern} {p.params.sparsity:g}": p for p in points}
    return {
        "compared_base_perplexity": base,
        "sweep": {name: point.perplexity for name, point in told.items()},
    }


def _asked(bench: Bench) -> Iterator[PruningParams]:
    """Every pruning to carry out; patterns only where the model's matrices have room for them."""
    facts = bench.facts
    own = bench.params.method
    for method in TITLES if facts.parameters <= LARGEST_COMPARED else (own,):
        for sparsity in SPARSITIES:
            yield _changed(bench.params, method=method, pattern="unstructured", sparsity=sparsity)
    for pattern in (name for name, group in GROUPS.items() if group):
        params = _changed(bench.params, pattern=pattern, sparsity=0.5)
        if refuse(facts, params) is None:
            yield params


def _changed(params: PruningParams, **changes: object) -> PruningParams:
    return PruningParams.model_validate({**params.model_dump(), **changes})


def _measured(bench: Bench, params: PruningParams) -> Point:
    model = bench.load()
    reports: list[Report] = []
    prune_model(
        model,
        bench.blocks,
        params,
        bench.run.device,
        lambda layer, found: reports.extend(found),
        bench.run.check_stop,
    )
    return Point(params, sparsity_of(reports), mean_error(reports), bench.perplexity(model))


def _plot(bench: Bench, base: float, points: Sequence[Point]) -> None:
    lines: Mapping[str, list[Point]] = {
        title: [
            p for p in points if p.params.method == method and p.params.pattern == "unstructured"
        ]
        for method, title in TITLES.items()
    }
    series = [
        Series(title, [0.0, *(p.sparsity for p in line)], [base, *(p.perplexity for p in line)])
        for title, line in lines.items()
        if line
    ]
    x, y = Axis("Weights that are zero", "fraction"), Axis("Perplexity", log=True)
    bench.run.plot("sweep", "Perplexity against sparsity, unstructured", x, y, series)
