"""Deploy by merging: put what was learned into the weights, prove that nothing changed, save."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.common.agreement import Prompts, agree, compared_prompts, logits
from labs.common.artifacts import folder_bytes, require_artifact, save_model
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.loading import DTYPES, CausalModel, load_model, load_tokenizer
from labs.common.memory import release
from labs.common.params import Reading
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts

# Above this size the weights are merged in the run's own precision: float32 would not fit.
LARGEST_FLOAT32 = 1_500_000_000


@dataclass(frozen=True, slots=True)
class _Work:
    """What merging starts from: the artifact of training, and the base to put it into."""

    tuning: Tuning[Any, Any]
    run: LabContext
    kept: Path
    dtype: torch.dtype
    prompts: Prompts

    @classmethod
    def begin(cls, tuning: Tuning[Any, Any], run: LabContext) -> "_Work":
        kept = require_artifact(run, tuning.kept, "train")
        data = prepare(run.dataset, load_tokenizer(run.base_model), tuning.params.max_length)
        run.progress(1, 4, "loading the full-precision base")
        return cls(tuning, run, kept, compared_in(run, tuning.params), compared_prompts(data))

    def base(self) -> PreTrainedModel:
        return load_model(self.run.base_model, self.run.device, self.dtype)

    def says(self, model: nn.Module) -> list[Tensor]:
        return logits(model, self.prompts, self.run.device)


def compared_in(run: LabContext, params: Reading) -> torch.dtype:
    """Float32 as far as the base is small enough for it, else the run's own precision."""
    small = read_facts(run.base_model).parameters <= LARGEST_FLOAT32
    return torch.float32 if small else DTYPES[params.precision]


def merge(
    tuning: Tuning[Any, Any], run: LabContext, merged_into: Callable[[Any], PreTrainedModel]
) -> Json:
    """Merge what was trained into the full-precision base and save it in the base's own format.

    A quantized base is not merged into: the weights would have to be rounded again, and the
    update is smaller than that rounding. Reads the method's artifact; leaves the artifact
    `merged`, the largest change of a logit with its tolerance, and the sizes.

    Args:
        tuning: The method.
        run: Where to read and save.
        merged_into: Makes one plain model of a tuned one.

    Raises:
        LabError: If merged and unmerged logits differ by more than the tolerance.
    """
    work = _Work.begin(tuning, run)
    tuned: CausalModel = tuning.load(work.base(), work.kept)
    unmerged = work.says(tuned)
    return _leave(work, unmerged, merged_into(tuned))


def apply(
    tuning: Tuning[Any, Any],
    run: LabContext,
    as_trained: Callable[[PreTrainedModel, Path], nn.Module],
) -> Json:
    """Apply what was saved to a fresh base, compare it with the model as training had it, save.

    For methods whose `load` gives a plain model. Reads and leaves what `merge` does.

    Raises:
        LabError: If a logit differs by more than the tolerance.
    """
    work = _Work.begin(tuning, run)
    trained = work.says(as_trained(work.base(), work.kept))
    release(run.device)
    return _leave(work, trained, tuning.load(work.base(), work.kept))


def _leave(work: _Work, unmerged: list[Tensor], merged: PreTrainedModel) -> Json:
    """Prove that the merged model says the same, save it, and prove that of the saved one."""
    tuning, run = work.tuning, work.run
    run.progress(2, 4, "comparing logits")
    found = agree(unmerged, work.says(merged), work.dtype)
    found.require(
        "Merging changed a logit by {difference}, more than the {tolerance} that rounding explains. The merged model was not saved."
    )
    run.progress(3, 4, "saving")

    measured = {"merge/max_difference": found.difference}
    stored = getattr(torch, read_facts(run.base_model).dtype, work.dtype)
    tokenizer = load_tokenizer(run.base_model)
    with run.artifact("merged", "merged", int(run.result("train").get("best_step", 0))) as folder:
        save_model(merged, stored, tokenizer, run.base_model, folder)
        summary = {**_quality(run), **measured}
        write_card(folder, tuning.lab, tuning.params, run, summary, library="transformers")
        merged_bytes = folder_bytes(folder)
    del merged
    release(run.device)
    saved = load_model(run.run_dir / "artifacts" / "merged", run.device, work.dtype)
    again = agree(unmerged, work.says(saved), work.dtype)
    run.log(int(run.result("train").get("steps", 0)), measured)
    _show_agreement(run, found.difference, again.difference, found.tolerance)
    show_sizes(run, {tuning.kept: folder_bytes(work.kept), "merged": merged_bytes})
    run.progress(4, 4, "done")
    return {
        **measured,
        "tolerance": found.tolerance,
        "saved_difference": again.difference,
        "merged_bytes": merged_bytes,
    }


def show_sizes(run: LabContext, sizes: dict[str, int]) -> None:
    """What each artifact takes, as a share of the last one, which is whole."""
    whole = list(sizes.values())[-1]
    columns = [
        Column("artifact", "Artifact"),
        Column("bytes", "Size", "bytes"),
        Column("share", "Share", "fraction"),
    ]
    rows = [[name, size, size / whole] for name, size in sizes.items()]
    run.table("sizes", "What has to be stored and sent", columns, rows)


def _quality(run: LabContext) -> Json:
    return {key: value for key, value in run.result("inference").items() if key.startswith("test/")}


def _show_agreement(run: LabContext, merged: float, saved: float, tolerance: float) -> None:
    columns = [Column("what", "Compared with the unmerged model"), Column("value", "max |Δlogit|")]
    rows = [
        [N_("Merged, in memory"), merged],
        [N_("Merged, saved and loaded again"), saved],
        [N_("Tolerance of the merge"), tolerance],
    ]
    run.table("merge", "Merged and unmerged say the same", columns, rows)
