"""Setup: read the data, attach what is trained, count it."""

from functools import partial
from typing import Any

import torch

from labs.common.agreement import agree, compared_prompts, logits
from labs.common.data import Prepared
from labs.common.evaluation import commonest_answer_share
from labs.common.formatting import template_name
from labs.common.loading import DTYPES, count_parameters, load_tokenizer
from labs.common.seeding import seed_everything
from labs.common.showing import show_data
from labs.common.tuning import Tuning
from labs.contract import Json, LabContext
from labs.models import read_facts


def setup(tuning: Tuning[Any, Any], run: LabContext) -> Json:
    """Check model, parameters and data against each other, and show what will be trained.

    Reads the base model and the dataset. Leaves tables of the data and of the trained parts.
    Where the method says so, proves that the model with fresh parts says what it said without.

    Raises:
        LabError: If the model cannot serve these parameters, or fresh parts change it.
    """
    params = tuning.params
    refused = tuning.lab.accepts.refuse(read_facts(run.base_model), params)
    if refused is not None:
        raise refused
    tokenizer = load_tokenizer(run.base_model)
    data = tuning.rows(run)
    show_data(run, tokenizer, data, partial(tuning.learned, tokenizer))
    run.progress(1, 3, "loading the base model")

    seed_everything(run.seed)
    base = tuning.load_base(run)
    prompts = compared_prompts(data, 1)
    dtype = torch.bfloat16 if getattr(base, "is_quantized", False) else DTYPES[params.precision]
    before = logits(base, prompts, run.device)
    model = tuning.attach(base)
    found = agree(before, logits(model, prompts, run.device), dtype)
    if tuning.starts_as_base:
        found.require(
            "Before any training the model differs from its base: a logit by {difference}, more than the {tolerance} that rounding explains."
        )
    run.progress(2, 3, "counting parameters")

    total, trainable = count_parameters(model)
    tuning.show_attached(model, run)
    counted = {
        "parameters": total,
        "trainable_parameters": trainable,
        "trainable_fraction": trainable / total,
    }
    run.log(0, {f"model/{name}": value for name, value in counted.items()})
    run.progress(3, 3, "ready")
    return {
        **counted,
        "difference_at_start": found.difference,
        "template": template_name(tokenizer),
        "training_rows": len(data.train),
        "truncated_share": data.truncated_share,
        "commonest_answer_accuracy": _trivial(data),
    }


def _trivial(data: Prepared) -> float | None:
    if not data.matches_answers or not data.questions:
        return None
    said = [example.answer for example in data.splits.train]
    return commonest_answer_share(data.questions, said)
