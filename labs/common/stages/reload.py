"""Deploy a whole model: load it as anybody would and prove that it says the same."""

from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from labs.common.agreement import TOLERANCES, agree, compared_prompts, logits
from labs.common.artifacts import folder_bytes, require_artifact
from labs.common.data import prepare
from labs.common.evaluation import held_out_loss
from labs.common.loading import DTYPES, load_tokenizer
from labs.common.memory import release
from labs.common.stages.merge import show_sizes
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts


def reload(tuning: Tuning[Any, Any], run: LabContext) -> Json:
    """Compare the model as this lab loads it with a plain `from_pretrained` of its folder.

    Shows as well what training measured at its end beside the same figure of the loaded model.

    Raises:
        LabError: If a logit differs by more than rounding explains.
    """
    kept = require_artifact(run, tuning.kept, "train")
    tokenizer = load_tokenizer(run.base_model)
    params = tuning.params
    data = prepare(run.dataset, tokenizer, params.max_length)
    prompts = compared_prompts(data)
    run.progress(1, 2, "loading the saved model")
    ours = logits(tuning.load_tuned(run, kept), prompts, run.device)
    release(run.device)
    plain: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        kept, local_files_only=True, use_safetensors=True, device_map={"": run.device}
    )
    # The run may compute in fewer bits than the file has, or the other way round.
    coarser = max(plain.dtype, DTYPES[params.precision], key=TOLERANCES.__getitem__)
    found = agree(ours, logits(plain, prompts, run.device), coarser)
    found.require(
        "The saved model says something else when it is loaded plainly: a logit differs by {difference}, more than the {tolerance} that rounding explains."
    )
    columns = [Column("what", "Compared with the tuned model"), Column("value", "max |Δlogit|")]
    rows = [[N_("Saved and loaded plainly"), found.difference], [N_("Tolerance"), found.tolerance]]
    run.table("merge", "The saved model says the same", columns, rows)
    _show_loss(run, held_out_loss(plain, tokenizer, data.validation, run.device, params))
    show_sizes(run, {tuning.kept: folder_bytes(kept), "base": read_facts(run.base_model).bytes})
    run.progress(2, 2, "done")
    return {"merge/max_difference": found.difference, "tolerance": found.tolerance}


def _show_loss(run: LabContext, loaded: float) -> None:
    trained = run.result("train").get("eval/loss")
    columns = [Column("model", "Model"), Column("loss", "Loss", "nats per target token")]
    rows = [[N_("At the end of training"), trained], [N_("Saved and loaded plainly"), loaded]]
    run.table("reloaded", "Validation loss, as trained and as loaded", columns, rows)
