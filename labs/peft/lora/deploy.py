"""Deploy: add the update to the weights, prove that nothing changed, save the whole model."""

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from labs.common.artifacts import folder_bytes, require_artifact, save_model
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.loading import DTYPES, load_model, load_tokenizer
from labs.common.memory import release
from labs.contract import N_, Column, Json, LabContext, LabError
from labs.models import read_facts
from labs.peft.lora.model import largest_difference, load_tuned, logits
from labs.peft.lora.spec import LAB, LoraParams

COMPARED_PROMPTS = 8
# Above this size the weights are merged in the run's own precision: float32 would not fit.
LARGEST_FLOAT32 = 1_500_000_000
# Largest |Δlogit| that rounding explains, relative to the largest logit.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def deploy(params: LoraParams, run: LabContext) -> Json:
    """Merge the adapter into the full-precision base and save it in the base's own format.

    A quantized base is not merged into: W0 + sBA would have to be rounded to 4 bits again,
    and the update is smaller than that rounding. Reads the artifact `adapter`; leaves the
    artifact `merged`, the largest change of a logit with its tolerance, and the sizes.

    Raises:
        LabError: If merged and unmerged logits differ by more than the tolerance.
    """
    adapter = require_artifact(run, "adapter", "train")
    tokenizer = load_tokenizer(run.base_model)
    data = prepare(run.dataset, tokenizer, params.max_length)
    prompts = [row.ids for row in data.test[:COMPARED_PROMPTS]]
    facts = read_facts(run.base_model)
    dtype = torch.float32 if facts.parameters <= LARGEST_FLOAT32 else DTYPES[params.precision]
    run.progress(1, 4, "loading the full-precision base")

    tuned = load_tuned(load_model(run.base_model, run.device, dtype), adapter)
    unmerged = logits(tuned, prompts, run.device)
    merged = _merge(tuned)
    run.progress(2, 4, "comparing logits")
    difference = largest_difference(unmerged, logits(merged, prompts, run.device))
    tolerance = TOLERANCES[dtype] * max(1.0, max(float(x.abs().max()) for x in unmerged))
    if not difference <= tolerance:
        raise LabError(
            "Merging changed a logit by {difference}, more than the {tolerance} that rounding explains. The merged model was not saved.",
            difference=f"{difference:.3g}",
            tolerance=f"{tolerance:.3g}",
        )
    run.progress(3, 4, "saving")

    measured = {"merge/max_difference": difference}
    summary = {**_quality(run), **measured}
    stored = getattr(torch, facts.dtype, dtype)
    with run.artifact("merged", "merged", int(run.result("train").get("best_step", 0))) as folder:
        save_model(merged, stored, tokenizer, run.base_model, folder)
        write_card(folder, LAB, params, run, summary, library="transformers")
        merged_bytes = folder_bytes(folder)
    del tuned, merged
    release(run.device)
    saved = load_model(run.run_dir / "artifacts" / "merged", run.device, dtype)
    saved_difference = largest_difference(unmerged, logits(saved, prompts, run.device))
    run.log(int(run.result("train").get("steps", 0)), measured)
    _show(
        run,
        difference,
        saved_difference,
        tolerance,
        folder_bytes(adapter),
        merged_bytes,
    )
    run.progress(4, 4, "done")
    return {
        **measured,
        "tolerance": tolerance,
        "saved_difference": saved_difference,
        "merged_bytes": merged_bytes,
    }


def _merge(tuned: PeftModel) -> PreTrainedModel:
    """W0 + s·BA in place of W0; refuses to write not-a-number into the weights."""
    merged: PreTrainedModel = tuned.merge_and_unload(safe_merge=True)
    return merged


def _quality(run: LabContext) -> Json:
    return {key: value for key, value in run.result("inference").items() if key.startswith("test/")}


def _show(
    run: LabContext,
    difference: float,
    saved_difference: float,
    tolerance: float,
    adapter_bytes: int,
    merged_bytes: int,
) -> None:
    columns = [Column("what", "Compared with the unmerged model"), Column("value", "max |Δlogit|")]
    rows = [
        [N_("Merged, in memory"), difference],
        [N_("Merged, saved and loaded again"), saved_difference],
        [N_("Tolerance of the merge"), tolerance],
    ]
    run.table("merge", "Merged and unmerged say the same", columns, rows)
    sizes = [
        Column("artifact", "Artifact"),
        Column("bytes", "Size", "bytes"),
        Column("share", "Share", "fraction"),
    ]
    run.table(
        "sizes",
        "What has to be stored and sent",
        sizes,
        [["adapter", adapter_bytes, adapter_bytes / merged_bytes], ["merged", merged_bytes, 1.0]],
    )
