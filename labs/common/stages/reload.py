"""Deploy a whole model: load it as anybody would and prove that it says the same."""

from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from labs.common.agreement import agree, compared_prompts, logits
from labs.common.artifacts import folder_bytes, require_artifact
from labs.common.data import prepare
from labs.common.loading import load_tokenizer
from labs.common.memory import release
from labs.common.stages.merge import show_sizes
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts


def reload(tuning: Tuning[Any, Any], run: LabContext) -> Json:
    """Compare the model as this lab loads it with a plain `from_pretrained` of its folder.

    Raises:
        LabError: If a logit differs by more than rounding explains.
    """
    kept = require_artifact(run, tuning.kept, "train")
    tokenizer = load_tokenizer(run.base_model)
    prompts = compared_prompts(prepare(run.dataset, tokenizer, tuning.params.max_length))
    run.progress(1, 2, "loading the saved model")
    ours = logits(tuning.load_tuned(run, kept), prompts, run.device)
    release(run.device)
    plain: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        kept, local_files_only=True, use_safetensors=True, device_map={"": run.device}
    )
    found = agree(ours, logits(plain, prompts, run.device), plain.dtype)
    found.require(
        "The saved model says something else when it is loaded plainly: a logit differs by {difference}, more than the {tolerance} that rounding explains."
    )
    columns = [Column("what", "Compared with the tuned model"), Column("value", "max |Δlogit|")]
    rows = [[N_("Saved and loaded plainly"), found.difference], [N_("Tolerance"), found.tolerance]]
    run.table("merge", "The saved model says the same", columns, rows)
    show_sizes(run, {tuning.kept: folder_bytes(kept), "base": read_facts(run.base_model).bytes})
    run.progress(2, 2, "done")
    return {"merge/max_difference": found.difference, "tolerance": found.tolerance}
