"""Setup: read the data, place the matrices, count what will be trained."""

from collections import defaultdict

from peft import PeftModel

from labs.common.data import Prepared, prepare
from labs.common.evaluation import commonest_answer_share
from labs.common.formatting import template_name
from labs.common.loading import count_parameters, load_tokenizer
from labs.common.seeding import seed_everything
from labs.common.showing import show_data
from labs.contract import Column, Json, LabContext, LabError
from labs.models import read_facts
from labs.peft.lora.model import add_lora, largest_difference, load_base, logits, updates
from labs.peft.lora.spec import LoraParams, refuse

COMPARED_PROMPTS = 1


def setup(params: LoraParams, run: LabContext) -> Json:
    """Check model, parameters and data against each other, and show what LoRA adds.

    Reads the base model and the dataset. Leaves a table of the trained share of each
    module and a few rows as the model will see them. Proves that the model with fresh
    matrices says exactly what it said without: B is zero.
    """
    _refuse_early(params, run)
    tokenizer = load_tokenizer(run.base_model)
    data = prepare(run.dataset, tokenizer, params.max_length)
    show_data(run, tokenizer, data)
    run.progress(1, 3, "loading the base model")

    seed_everything(run.seed)
    base = load_base(params, run)
    prompts = [row.ids for row in data.validation[:COMPARED_PROMPTS]]
    before = logits(base, prompts, run.device)
    model = add_lora(base, params)
    difference = largest_difference(before, logits(model, prompts, run.device))
    run.progress(2, 3, "counting parameters")

    total, trainable = count_parameters(model)
    _show_modules(model, run)
    run.log(
        0,
        {
            "model/parameters": total,
            "model/trainable_parameters": trainable,
            "model/trainable_fraction": trainable / total,
        },
    )
    run.progress(3, 3, "ready")
    return {
        "parameters": total,
        "trainable_parameters": trainable,
        "trainable_fraction": trainable / total,
        "difference_at_start": difference,
        "template": template_name(tokenizer),
        "training_rows": len(data.train),
        "truncated_share": data.truncated_share,
        "commonest_answer_accuracy": _trivial(data),
    }


def _refuse_early(params: LoraParams, run: LabContext) -> None:
    refused: LabError | None = refuse(read_facts(run.base_model), params)
    if refused is not None:
        raise refused


def _trivial(data: Prepared) -> float | None:
    if not data.matches_answers or not data.questions:
        return None
    said = [example.answer for example in data.splits.train]
    return commonest_answer_share(data.questions, said)


def _show_modules(model: PeftModel, run: LabContext) -> None:
    kinds = defaultdict(list)
    for update in updates(model):
        kinds[update.kind].append(update)
    rows = []
    for kind, found in kinds.items():
        frozen = sum(update.base_parameters for update in found)
        trained = sum(update.trainable for update in found)
        shape = f"{found[0].b.shape[0]} × {found[0].a.shape[1]}"
        rows.append([kind, len(found), shape, frozen, trained, trained / (frozen + trained)])
    columns = [
        Column("module", "Module"),
        Column("count", "Matrices"),
        Column("shape", "Outputs × inputs"),
        Column("frozen", "Frozen", "parameters"),
        Column("trained", "Trained", "parameters"),
        Column("share", "Trained share", "fraction"),
    ]
    run.table("trainable_share", "What LoRA trains, module by module", columns, rows)
