"""Train: the base is measured, the update is learned, its best state becomes an artifact."""

from functools import partial
from typing import Any

import torch
from peft import PeftModel

from labs.common.artifacts import folder_bytes
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.evaluation import evaluate
from labs.common.loading import count_parameters, load_tokenizer, pad_id
from labs.common.memory import peak_bytes, reset_peak, tensor_bytes
from labs.common.seeding import seed_everything
from labs.common.training import fit
from labs.contract import N_, Column, Json, LabContext
from labs.peft.lora.method import singular_values
from labs.peft.lora.model import add_lora, load_base, save_adapter, updates
from labs.peft.lora.spec import LAB, LoraParams

# AdamW keeps two moments for each trained number.
MOMENTS = 2


def train(params: LoraParams, run: LabContext) -> Json:
    """Train A and B, and save those of the lowest validation loss.

    Step 0 is the untouched base: with B = 0 the model with LoRA is the base. Reads the
    base model, the dataset and the newest checkpoint; leaves the artifact `adapter` in
    the layout of peft, the singular values of every update, and the memory by part.
    """
    tokenizer = load_tokenizer(run.base_model)
    data = prepare(run.dataset, tokenizer, params.max_length)
    reset_peak(run.device)
    seed_everything(run.seed)
    model = add_lora(load_base(params, run), params)
    total, trainable = count_parameters(model)

    measure = partial(evaluate, model, tokenizer, data, run.device, params)
    fitted = fit(model, data.train, pad_id(tokenizer), params, run, measure)
    best = measure()

    _show_memory(model, run)
    _show_singular_values(model, run)
    summary: dict[str, Any] = {
        "steps": fitted.steps,
        "best_step": fitted.best_step,
        "stopped_early": fitted.stopped_early,
        "trainable_parameters": trainable,
        "trainable_fraction": trainable / total,
        **best,
    }
    with run.artifact("adapter", "adapter", fitted.best_step) as folder:
        save_adapter(model, folder, run.base_model_name)
        write_card(folder, LAB, params, run, summary, library="peft")
        size = folder_bytes(folder)
    run.log(fitted.steps, {"artifact/bytes": size})
    return {**summary, "adapter_bytes": size}


def _show_memory(model: PeftModel, run: LabContext) -> None:
    """What is known is counted; what is left of the peak is activations and libraries."""
    frozen, trained = tensor_bytes(model, trainable=False), tensor_bytes(model, trainable=True)
    peak = peak_bytes(run.device)
    parts = {
        N_("Frozen base weights"): frozen,
        N_("LoRA weights"): trained,
        N_("Their gradients"): trained,
        N_("Optimizer (two moments)"): MOMENTS * trained,
    }
    rest = (
        N_("Activations and everything else")
        if run.device == "cuda"
        else N_("Activations, Python and libraries")
    )
    parts[rest] = max(0, peak - sum(parts.values()))
    columns = [Column("part", "Part"), Column("bytes", "Size", "bytes")]
    rows = [*parts.items(), (N_("Peak"), peak)]
    run.table("memory", "Memory at the peak of training, by part", columns, rows)


@torch.no_grad()
def _show_singular_values(model: PeftModel, run: LabContext) -> None:
    found = list(updates(model))
    values = [singular_values(update.a, update.b, update.scale).tolist() for update in found]
    run.heatmap(
        "singular_values",
        "Singular values of s·BA: how much of the rank each update uses",
        x=[f"σ{i + 1}" for i in range(len(values[0]))],
        y=[update.short_name for update in found],
        values=values,
    )
