"""What became of each matrix, kept beside the pruned weights. Imports no torch."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from labs.contract import Json

FILE = "pruning.json"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one matrix.

    Attributes:
        error: ‖(W − Ŵ)X‖² / ‖WX‖² on calibration inputs.
        spread: The largest ‖X_j‖₂ of its inputs, as a multiple of the median: where it is near 1,
            Wanda orders the weights of a row as magnitude does.
    """

    layer: int
    name: str
    outputs: int
    inputs: int
    zeros: int
    error: float
    spread: float
    seconds: float

    @property
    def weights(self) -> int:
        """All of them, zero or not."""
        return self.outputs * self.inputs

    @property
    def sparsity(self) -> float:
        """Share that is zero."""
        return self.zeros / self.weights


def sparsity_of(reports: Sequence[Report]) -> float:
    """Zeros of several matrices, by all their weights."""
    return sum(r.zeros for r in reports) / sum(r.weights for r in reports)


def mean_error(reports: Sequence[Report]) -> float:
    """Over matrices, whatever their size."""
    return sum(report.error for report in reports) / len(reports)


def write_reports(folder: Path, reports: Sequence[Report], summary: Json) -> None:
    """Put them beside the weights, with what the stage returned."""
    content = {"summary": summary, "matrices": [asdict(report) for report in reports]}
    (folder / FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_reports(folder: Path) -> list[Report]:
    """What `write_reports` wrote."""
    return [Report(**each) for each in _read(folder)["matrices"]]


def read_summary(folder: Path) -> Json:
    """What the stage returned."""
    summary: Json = _read(folder)["summary"]
    return summary


def _read(folder: Path) -> Json:
    content: Json = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return content
