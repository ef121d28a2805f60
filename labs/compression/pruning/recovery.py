"""LoRA after pruning: a small update beside the zeros makes up for part of the damage.

As in section 5 of Wanda (Sun et al. 2023). The adapter is kept beside the pruned model: W + s·BA
has no zeros, so merging it would undo the pruning.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.artifacts import folder_bytes
from labs.common.cards import loading_lines, write_card
from labs.common.data import VALIDATION_ROWS, Prepared, prepare
from labs.common.evaluation import evaluate
from labs.common.formatting import encode_all
from labs.common.loading import DTYPES, load_model, load_tokenizer, pad_id
from labs.common.memory import release
from labs.common.seeding import seed_everything
from labs.common.training import fit
from labs.compression.common.texts import running_text
from labs.compression.pruning.spec import LAB, PruningParams
from labs.contract import Json, LabContext
from labs.datasets import read_splits
from labs.peft.lora.tuning import LoraTuning

# Where the adapter finds its base: artifacts of a run lie beside each other.
BESIDE = "../pruned"


def recover(params: PruningParams, run: LabContext, pruned: Path) -> Json:
    """Train LoRA on the pruned model, whose weights stay frozen; leave the artifact `recovery`."""
    tokenizer = load_tokenizer(run.base_model)
    tuning = tuning_of(params)
    data = rows(params, run, tokenizer)
    seed_everything(run.seed)
    model = tuning.attach(load_model(pruned, run.device, DTYPES[params.precision]))
    lora = tuning.params
    measure = partial(evaluate, model, tokenizer, data, run.device, lora, tuning.ask)
    fitted = fit(model, data.train, pad_id(tokenizer), lora, run, measure, decays=tuning.decays)
    summary = {
        "recovery_best_step": fitted.best_step,
        "recovery_eval_loss": fitted.best_loss,
    }
    with run.artifact("recovery", "adapter", fitted.best_step) as folder:
        tuning.save(model, folder, BESIDE)
        loading = loading_lines("peft", BESIDE)
        write_card(folder, LAB, params, run, summary, "peft", loading)
        summary["recovery_bytes"] = folder_bytes(folder)
    del model
    release(run.device)
    return summary


def load_recovered(
    params: PruningParams, run: LabContext, pruned: Path, adapter: Path
) -> PreTrainedModel:
    """The pruned model with its adapter beside the zeros, unmerged."""
    base = load_model(pruned, run.device, DTYPES[params.precision])
    # peft passes every call on to the model that it wraps.
    return cast(PreTrainedModel, tuning_of(params).load(base, adapter))


def tuning_of(params: PruningParams) -> LoraTuning:
    """LoRA as its own lab carries it out."""
    return LoraTuning(params.recovery)


def rows(params: PruningParams, run: LabContext, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """The dataset's rows and those of the running text: what is judged later is what was lost."""
    data = prepare(run.dataset, tokenizer, params.max_length)
    if running_text(run) == run.dataset:
        return data
    text = read_splits(running_text(run))
    learned = encode_all(tokenizer, text.train, params.max_length)
    held_out = encode_all(tokenizer, text.validation[:VALIDATION_ROWS], params.max_length)
    return replace(data, train=(*data.train, *learned), validation=(*data.validation, *held_out))
