"""Deploy by merging: put what was learned into the weights, prove that nothing changed, save."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from labs.common.agreement import agree, compared_prompts, logits
from labs.common.artifacts import folder_bytes, require_artifact, save_model
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.loading import DTYPES, CausalModel, load_model, load_tokenizer
from labs.common.memory import release
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts

# Above this size the weights are merged in the run's own precision: float32 would not fit.
LARGEST_FLOAT32 = 1_500_000_000


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
    kept = require_artifact(run, tuning.kept, "train")
    tokenizer = load_tokenizer(run.base_model)
    prompts = compared_prompts(prepare(run.dataset, tokenizer, tuning.params.max_length))
    facts = read_facts(run.base_model)
    small = facts.parameters <= LARGEST_FLOAT32
    dtype = torch.float32 if small else DTYPES[tuning.params.precision]
    run.progress(1, 4, "loading the full-precision base")

    tuned: CausalModel = tuning.load(load_model(run.base_model, run.device, dtype), kept)
    unmerged = logits(tuned, prompts, run.device)
    merged = merged_into(tuned)
    run.progress(2, 4, "comparing logits")
    found = agree(unmerged, logits(merged, prompts, run.device), dtype)
    found.require(
        "Merging changed a logit by {difference}, more than the {tolerance} that rounding explains. The merged model was not saved."
    )
    run.progress(3, 4, "saving")

    measured = {"merge/max_difference": found.difference}
    stored = getattr(torch, facts.dtype, dtype)
    with run.artifact("merged", "merged", int(run.result("train").get("best_step", 0))) as folder:
        save_model(merged, stored, tokenizer, run.base_model, folder)
        summary = {**_quality(run), **measured}
        write_card(folder, tuning.lab, tuning.params, run, summary, library="transformers")
        merged_bytes = folder_bytes(folder)
    del tuned, merged
    release(run.device)
    saved = load_model(run.run_dir / "artifacts" / "merged", run.device, dtype)
    again = agree(unmerged, logits(saved, prompts, run.device), dtype)
    run.log(int(run.result("train").get("steps", 0)), measured)
    _show_agreement(run, found.difference, again.difference, found.tolerance)
    show_sizes(run, {tuning.kept: folder_bytes(kept), "merged": merged_bytes})
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
