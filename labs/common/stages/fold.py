"""Deploy by folding: keep the vectors that a network wrote, drop the network, prove it equal."""

from typing import Any

from peft import PeftModel

from labs.common.agreement import agree, compared_prompts, logits
from labs.common.artifacts import folder_bytes, require_artifact
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.loading import count_parameters, load_model, load_tokenizer
from labs.common.memory import release
from labs.common.peft_tuning import PeftTuning
from labs.common.prompt_learning import EncodedPrompt, encoder_of, vectors_of
from labs.common.stages.merge import compared_in, show_sizes
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts


def fold(tuning: EncodedPrompt[Any], run: LabContext) -> Json:
    """Write the vectors in peft's layout and compare them with the network that wrote them.

    Reads the artifact of training; leaves the artifact `adapter`, which plain peft loads.

    Raises:
        LabError: If a logit differs by more than rounding explains.
    """
    kept = require_artifact(run, tuning.kept, "train")
    tokenizer = load_tokenizer(run.base_model)
    prompts = compared_prompts(prepare(run.dataset, tokenizer, tuning.params.max_length))
    run.progress(1, 3, "loading the base model")
    dtype = compared_in(run, tuning.params)
    encoded = tuning.load(load_model(run.base_model, run.device, dtype), kept)
    before = logits(encoded, prompts, run.device)
    trained, _ = count_parameters(encoder_of(encoded))
    stored = vectors_of(encoded).numel()

    run.progress(2, 3, "saving")
    step = int(run.result("train").get("best_step", 0))
    with run.artifact("adapter", "adapter", step) as folder:
        PeftTuning.save(tuning, encoded, folder, run.base_model_name)
        quality = {k: v for k, v in run.result("inference").items() if k.startswith("test/")}
        write_card(folder, tuning.lab, tuning.params, run, quality, library="peft")
    del encoded
    release(run.device)
    saved = run.run_dir / "artifacts" / "adapter"
    base = load_model(run.base_model, run.device, dtype)
    folded = PeftModel.from_pretrained(base, saved).eval()
    found = agree(before, logits(folded, prompts, run.device), dtype)
    found.require(
        "Without the network that wrote them the vectors changed a logit by {difference}, more than the {tolerance} that rounding explains."
    )
    measured = {"merge/max_difference": found.difference}
    run.log(int(run.result("train").get("steps", 0)), measured)
    _show_kept(run, (trained, folder_bytes(kept)), (stored, folder_bytes(saved)))
    columns = [Column("what", "Compared with what was trained"), Column("value", "max |Δlogit|")]
    rows = [[N_("Folded, saved and loaded"), found.difference], [N_("Tolerance"), found.tolerance]]
    run.table("merge", "What is kept says the same", columns, rows)
    show_sizes(run, {"adapter": folder_bytes(saved), "base": read_facts(run.base_model).bytes})
    run.progress(3, 3, "done")
    return {**measured, "tolerance": found.tolerance, "trained": trained, "stored": stored}


def _show_kept(run: LabContext, trained: tuple[int, int], stored: tuple[int, int]) -> None:
    columns = [
        Column("what", "What"),
        Column("numbers", "Numbers"),
        Column("bytes", "Size", "bytes"),
    ]
    rows = [[N_("What was trained"), *trained], [N_("What is kept of it"), *stored]]
    run.table("folded", "What is kept of the training", columns, rows)
