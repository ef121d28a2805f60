"""What is left of a run that ended early: its checkpoint, its metrics, its artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.i18n import gettext, ngettext, number
from app.metrics.store import LatestValue
from app.models import Artifact
from app.settings import get_settings
from labs.published import read_manifest


@dataclass(frozen=True, slots=True)
class Kept:
    """Steps up to which there is something; None where there is nothing."""

    checkpoint_step: int | None
    metrics_step: int | None
    artifacts: Sequence[str]

    def words(self) -> list[str]:
        """One short sentence for each thing that was kept."""
        told = []
        if self.checkpoint_step is not None:
            step = number(self.checkpoint_step)
            told.append(gettext("Checkpoint of step {step}").format(step=step))
        if self.metrics_step is not None:
            step = number(self.metrics_step)
            told.append(gettext("Measurements until step {step}").format(step=step))
        if self.artifacts:
            form = ngettext("Artifact: {names}", "Artifacts: {names}", len(self.artifacts))
            told.append(form.format(names=", ".join(self.artifacts)))
        return told

    def as_json(self) -> dict[str, Any]:
        return {
            "checkpoint_step": self.checkpoint_step,
            "metrics_step": self.metrics_step,
            "artifacts": list(self.artifacts),
        }


def kept_of(run_id: UUID, values: Mapping[str, LatestValue], artifacts: Sequence[Artifact]) -> Kept:
    found = latest_checkpoint(run_id)
    return Kept(
        checkpoint_step=found[0] if found else None,
        metrics_step=max((value.step for value in values.values()), default=None),
        artifacts=[artifact.name for artifact in artifacts],
    )


def latest_checkpoint(run_id: UUID) -> tuple[int, Path] | None:
    """Step and folder of the newest checkpoint that has a manifest; whoever resumes checks it."""
    folders = (get_settings().run_dir(run_id) / "checkpoints").glob("step-*")
    for folder in sorted(folders, reverse=True):
        manifest = read_manifest(folder)
        if manifest is not None:
            return int(manifest["step"]), folder
    return None
