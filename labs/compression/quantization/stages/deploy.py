"""Deploy: the checkpoint as anybody loads it, proved equal; then a file for llama.cpp."""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from labs.common.agreement import agree, logits
from labs.common.artifacts import require_artifact
from labs.common.evaluation import ask
from labs.common.loading import DTYPES, load_tokenizer
from labs.common.memory import release
from labs.common.quantization import show_bitsandbytes
from labs.compression.common.gguf import ASKED, ask_llama, leave_gguf, plain_weights
from labs.compression.common.quality import exam
from labs.compression.quantization.spec import LAB, QuantizationParams
from labs.compression.quantization.stages.quantize import (
    ARTIFACT,
    kept_said,
    said_prompts,
    stored_dtype,
)
from labs.contract import N_, Column, Json, LabContext, LabError


def deploy(params: QuantizationParams, run: LabContext) -> Json:
    """Load the checkpoint as plain transformers does and compare it with the model in memory.

    Reads the artifact `quantized` and what the model said when it was made. Leaves the largest
    difference of a logit with its tolerance and, where asked for, the artifact `gguf`, with
    llama.cpp's answers beside those of transformers.

    Raises:
        LabError: If a logit differs by more than rounding explains.
    """
    require_artifact(run, ARTIFACT, "quantize")
    said = kept_said(run)
    if said is None:
        raise LabError(
            "This stage needs what the quantized model said in memory, which the stage “{stage}” keeps. Run that stage first.",
            stage="quantize",
        )
    run.progress(0, 3, "loading the checkpoint")
    model = load_plainly(params, run)
    measured = prove(params, run, model, said)
    if params.gguf == "none":
        run.progress(1, 1, "done")
        return measured
    run.progress(1, 3, "writing the file for llama.cpp")
    asked = exam(run, params)
    few = asked.questions[:ASKED]
    ours = ask(model, asked.tokenizer, few, run.device, params) if few else []
    quality = {k: v for k, v in run.result("inference").items() if k.startswith("test/")}
    tokenizer = load_tokenizer(run.base_model)
    whole = expanded(model)
    del model
    with plain_weights(run, whole, stored_dtype(params, run), tokenizer) as plain:
        facts = leave_gguf(run, LAB, params, plain, params.gguf, quality)
    del whole
    release(run.device)
    heard = ask_llama(run, few, ours, asked.matches_answers)
    measured |= {"gguf/bytes": facts.bytes}
    run.log(step_of(run), {"gguf/bytes": facts.bytes})
    run.progress(1, 1, "done")
    return {**measured, **heard}


def load_plainly(params: QuantizationParams, run: LabContext) -> PreTrainedModel:
    """As the model card says, without anything of ours."""
    if params.scheme.stored == "bitsandbytes":
        show_bitsandbytes()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        run.run_dir / "artifacts" / ARTIFACT,
        dtype=DTYPES[params.precision],
        local_files_only=True,
        use_safetensors=True,
        device_map={"": run.device},
    )
    model.eval()
    return model


def prove(
    params: QuantizationParams, run: LabContext, model: PreTrainedModel, said: list[Tensor]
) -> Json:
    """Require that the loaded model says what the one in memory said."""
    # The kernels of bitsandbytes compute in 16 bits, and in other ones after loading.
    rounds = params.scheme.stored == "bitsandbytes"
    dtype = torch.bfloat16 if rounds else DTYPES[params.precision]
    found = agree(said, logits(model, said_prompts(run, params), run.device), dtype)
    found.require(
        "The saved model says something else when it is loaded plainly: a logit differs by {difference}, more than the {tolerance} that rounding explains."
    )
    columns = [
        Column("what", "Against the model in memory"),
        Column("value", "max |Δlogit|"),
    ]
    rows = [[N_("Saved and loaded plainly"), found.difference], [N_("Tolerance"), found.tolerance]]
    run.table("load", "The saved model says the same", columns, rows)
    run.log(step_of(run), {"load/max_difference": found.difference})
    return {"load/max_difference": found.difference, "tolerance": found.tolerance}


def expanded(model: PreTrainedModel) -> PreTrainedModel:
    """The model with ordinary weights, each the number that its integer stands for.

    A checkpoint of compressed-tensors has them after its first forward pass, beside what belongs to
    its integers; bitsandbytes unpacks its own, in 16 bits.
    """
    packed = getattr(model, "is_loaded_in_4bit", False) or getattr(
        model, "is_loaded_in_8bit", False
    )
    whole: PreTrainedModel = model.dequantize() if packed else model
    config = whole.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh: Any = type(whole)
    # A model of its own: how the other one was loaded would also decide how it is saved.
    plain: PreTrainedModel = fresh(config)
    state = {name: tensor for name, tensor in whole.state_dict().items() if _is_plain(name)}
    plain.load_state_dict(state)
    plain.eval()
    return plain


def step_of(run: LabContext) -> int:
    """Where the metric points of the finished model stand: behind its last layer."""
    return int(run.result("quantize").get("layers", 1))


def _is_plain(name: str) -> bool:
    beside = ("weight_scale", "weight_zero_point", "weight_shape", "weight_packed", "weight_g_idx")
    return name.rpartition(".")[2] not in beside
