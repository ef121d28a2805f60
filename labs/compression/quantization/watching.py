"""What is seen while a model is quantized: errors by layer, live, and weights before and after."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean

import torch
from torch import Tensor

from labs.compression.quantization.quantize import MatrixReport
from labs.contract import N_, Axis, Column, LabContext, Series

# Weights are counted in standard deviations of their matrix, so that all matrices share the bins.
WIDEST = 4.0
BINS = 64
# Weights of one row that are drawn as points.
DRAWN = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers of a report, without its weights."""

    layer: int
    matrix: str
    output_error: float
    rounding_error: float
    weight_error: float
    seconds: float
    bits: float
    kept_rows: int


@dataclass(slots=True)
class Watch:
    """Hears of each matrix; shows errors after each layer, and all the rest at the end."""

    run: LabContext
    per_layer: int
    found: list[Figures] = field(default_factory=list)
    _before: Tensor = field(default_factory=lambda: torch.zeros(BINS))
    _after: Tensor = field(default_factory=lambda: torch.zeros(BINS))

    def __call__(self, report: MatrixReport) -> None:
        """Take down one matrix and say how far the work is."""
        if not self.found:
            show_stairs(self.run, report)
        self._count(report)
        self.found.append(
            Figures(
                layer=report.layer,
                matrix=report.matrix,
                output_error=report.output_error,
                rounding_error=report.rounding_error,
                weight_error=report.weight_error,
                seconds=report.seconds,
                bits=report.bits,
                kept_rows=report.kept_rows,
            )
        )
        done, total = len(self.found), report.layers * self.per_layer
        self.run.progress(done, total, N_("quantizing the layers"))
        if done % self.per_layer == 0:
            self._end_layer(report.layer, report.layers)

    def show(self) -> None:
        """Tables and pictures of the whole model."""
        show_errors(self.run, self.found)
        show_histogram(self.run, self._before, self._after)

    @property
    def mean_error(self) -> float:
        """Of the outputs, over all matrices."""
        return mean(each.output_error for each in self.found)

    @property
    def mean_rounding_error(self) -> float:
        """The same by plain rounding."""
        return mean(each.rounding_error for each in self.found)

    def _count(self, report: MatrixReport) -> None:
        unit = float(report.before.float().std()) or 1.0
        for counts, weight in ((self._before, report.before), (self._after, report.after)):
            scaled = (weight.float() / unit).clamp(-WIDEST, WIDEST)
            counts += torch.histc(scaled, BINS, -WIDEST, WIDEST).cpu()

    def _end_layer(self, layer: int, layers: int) -> None:
        here = [each for each in self.found if each.layer == layer]
        self.run.log(
            layer + 1,
            {
                "quantize/output_error": mean(each.output_error for each in here),
                "quantize/rounding_error": mean(each.rounding_error for each in here),
                "quantize/weight_error": mean(each.weight_error for each in here),
                "time/layer_seconds": sum(each.seconds for each in here),
            },
        )
        show_error_map(self.run, self.found, layers)


def show_error_map(run: LabContext, found: Sequence[Figures], layers: int) -> None:
    """The error of each matrix's output as a colour; layers that are still to come stay empty."""
    names = list(dict.fromkeys(each.matrix for each in found))
    errors = {(each.layer, each.matrix): each.output_error for each in found}
    rows = [[errors.get((layer, name)) for name in names] for layer in range(layers)]
    run.heatmap(
        "output_error",
        "Error of the outputs, by layer and matrix",
        names,
        [str(layer) for layer in range(layers)],
        rows,
    )


def show_errors(run: LabContext, found: Sequence[Figures]) -> None:
    """Means over the layers for each matrix of a layer."""
    columns = [
        Column("matrix", "Matrix"),
        Column("output", "Error of the output", "fraction"),
        Column("rounding", "By plain rounding", "fraction"),
        Column("weight", "Error of the weights", "fraction"),
        Column("bits", "Bits per weight"),
        Column("kept", "Rows left as rounded"),
        Column("seconds", "Time", "s"),
    ]
    rows = []
    for name in dict.fromkeys(each.matrix for each in found):
        own = [each for each in found if each.matrix == name]
        rows.append(
            [
                name,
                mean(each.output_error for each in own),
                mean(each.rounding_error for each in own),
                mean(each.weight_error for each in own),
                mean(each.bits for each in own),
                sum(each.kept_rows for each in own),
                sum(each.seconds for each in own),
            ]
        )
    run.table("errors", "Squared errors relative to what was there, means over the layers", columns, rows)  # fmt: skip


def show_histogram(run: LabContext, before: Tensor, after: Tensor) -> None:
    """How the weights lie, all matrices together."""
    width = 2 * WIDEST / BINS
    centres = [-WIDEST + (i + 0.5) * width for i in range(BINS)]
    series = [
        Series(name, centres, (counts / counts.sum()).tolist())
        for name, counts in ((N_("Before"), before), (N_("After"), after))
    ]
    x = Axis("Weight, in standard deviations of its matrix")
    y = Axis("Share of the weights", "fraction")
    run.plot("weights", "Weights before and after", x, y, series, "bars")


def show_stairs(run: LabContext, report: MatrixReport) -> None:
    """One row of the first matrix: where each weight went. Levels are the steps of a stair."""
    before, after = (w[0, :DRAWN].float().tolist() for w in (report.before, report.after))
    x, y = Axis("Weight before"), Axis("Weight after")
    series = [Series(report.name, before, after)]
    title = N_("One row of the first matrix: to which level each weight went")
    run.plot("stairs", title, x, y, series, "points")
