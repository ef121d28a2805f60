"""What the pruning lab shows of its zeros: tables, heat maps, and the mask as a picture."""

from collections.abc import Sequence

from torch import Tensor

from labs.compression.pruning.reports import Report, mean_error, sparsity_of
from labs.compression.pruning.spec import PruningParams
from labs.contract import Column, LabContext
from labs.models import ModelFacts

# The corner of a mask that is shown: output rows and inputs.
CORNER = (16, 32)


def show_targets(run: LabContext, facts: ModelFacts, params: PruningParams) -> None:
    """The matrices that will be pruned, kind by kind; what lies outside the layers stays whole."""
    columns = [
        Column("module", "Module"),
        Column("count", "Matrices"),
        Column("shape", "Outputs × inputs"),
        Column("weights", "Weights"),
        Column("sparsity", "To become zero", "fraction"),
    ]
    rows = [
        [
            *(name, found.count, f"{found.outputs} × {found.inputs}"),
            *(found.count * found.outputs * found.inputs, params.sparsity),
        ]
        for name, found in facts.matrices.items()
    ]
    run.table("targets", "What will be pruned", columns, rows)


def show_text(run: LabContext, blocks: Tensor, evaluated: int, params: PruningParams) -> None:
    """How the running text is used."""
    columns = [
        Column("blocks", "Calibration blocks"),
        Column("length", "Tokens of each"),
        Column("evaluated", "Text for perplexity", "tokens"),
        Column("window", "Window", "tokens"),
        Column("stride", "Stride", "tokens"),
    ]
    window, stride = params.evaluation_window, params.evaluation_stride
    rows = [[*blocks.shape, evaluated, window, stride]]
    run.table("calibration", "Running text, packed without padding", columns, rows)


def log_layers(run: LabContext, reports: Sequence[Report]) -> None:
    """The mean error and the sparsity of each layer, at the step of its number from 1."""
    for layer in sorted({report.layer for report in reports}):
        found = [report for report in reports if report.layer == layer]
        values = {
            "prune/output_error": mean_error(found),
            "prune/sparsity": sparsity_of(found),
            "prune/layer_seconds": sum(report.seconds for report in found),
        }
        run.log(layer + 1, values)


def show_layers(run: LabContext, reports: Sequence[Report], layers: int) -> None:
    """Sparsity and error of each matrix as pictures; layers that are yet to come stay empty."""
    names = list(dict.fromkeys(report.name for report in reports))
    found = {(report.layer, report.name): report for report in reports}

    def cells(what: str) -> list[list[float | None]]:
        return [[getattr(found.get((i, n)), what, None) for n in names] for i in range(layers)]

    rows = [str(i) for i in range(layers)]
    run.heatmap(
        "output_error",
        "Error of each matrix's outputs, relative, on calibration inputs",
        x=names,
        y=rows,
        values=cells("error"),
        unit="fraction",
    )
    run.heatmap(
        "sparsity",
        "Weights that are zero, layer by layer",
        x=names,
        y=rows,
        values=cells("sparsity"),
        unit="fraction",
    )


def show_matrices(run: LabContext, reports: Sequence[Report]) -> None:
    """The same as figures."""
    columns = [
        Column("layer", "Layer"),
        Column("matrix", "Module"),
        Column("shape", "Outputs × inputs"),
        Column("sparsity", "Weights that are zero", "fraction"),
        Column("error", "Error of its outputs", "fraction"),
        Column("spread", "Largest input norm / median"),
        Column("seconds", "Time to prune", "s"),
    ]
    rows = [
        [r.layer, r.name, f"{r.outputs} × {r.inputs}", r.sparsity, r.error, r.spread, r.seconds]
        for r in reports
    ]
    run.table("matrices", "What became of each matrix", columns, rows)


def show_mask(run: LabContext, weight: Tensor) -> None:
    """A corner of a matrix: 1 where a weight is zero."""
    rows, inputs = CORNER
    corner = (weight[:rows, :inputs] == 0).int()
    run.heatmap(
        "mask",
        "Mask of the first matrix, its first corner: 1 where a weight is zero",
        x=[str(i) for i in range(corner.shape[1])],
        y=[str(i) for i in range(corner.shape[0])],
        values=[[float(cell) for cell in row] for row in corner.tolist()],
    )
