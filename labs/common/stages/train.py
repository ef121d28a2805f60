"""Train: the untouched base is measured, the parts are learned, their best state is kept."""

from functools import partial
from typing import Any

from labs.common.artifacts import folder_bytes
from labs.common.cards import write_card
from labs.common.evaluation import evaluate
from labs.common.loading import CausalModel, count_parameters, load_tokenizer, pad_id
from labs.common.memory import peak_bytes, reset_peak, tensor_bytes
from labs.common.seeding import seed_everything
from labs.common.training import fit
from labs.common.tuning import Tuning
from labs.contract import N_, Column, Json, LabContext

# AdamW keeps two moments for each trained number.
MOMENTS = 2


def train(tuning: Tuning[Any, Any], run: LabContext) -> Json:
    """Train what the method attaches, and keep the state of the lowest validation loss.

    Step 0 is the untouched base. Reads the base model, the dataset and the newest checkpoint;
    leaves the method's artifact, the memory by part, and what the method shows of itself.
    """
    params = tuning.params
    tokenizer = load_tokenizer(run.base_model)
    data = tuning.rows(run)
    reset_peak(run.device)
    seed_everything(run.seed)
    model = tuning.attach(tuning.load_base(run))
    total, trainable = count_parameters(model)

    measure = partial(evaluate, model, tokenizer, data, run.device, params, tuning.ask)

    def measure_base() -> dict[str, float]:
        with tuning.untouched(model):
            return measure()

    baseline = None if tuning.starts_as_base else measure_base
    fitted = fit(
        model, data.train, pad_id(tokenizer), params, run, measure, baseline, tuning.decays
    )
    best = measure()

    _show_memory(tuning.trained_part, model, run)
    tuning.show_trained(model, run)
    summary: Json = {
        "steps": fitted.steps,
        "best_step": fitted.best_step,
        "stopped_early": fitted.stopped_early,
        "trainable_parameters": trainable,
        "trainable_fraction": trainable / total,
        **best,
        **tuning.after_training(model, run),
    }
    with run.artifact(tuning.kept, tuning.kept, fitted.best_step) as folder:
        tuning.save(model, folder, run.base_model_name)
        loading = tuning.loading(run.base_model_name)
        write_card(folder, tuning.lab, params, run, summary, tuning.library, loading)
        size = folder_bytes(folder)
    run.log(fitted.steps, {"artifact/bytes": size})
    return {**summary, f"{tuning.kept}_bytes": size}


def _show_memory(trained_part: str, model: CausalModel, run: LabContext) -> None:
    """What is known is counted; what is left of the peak is activations and libraries."""
    frozen, trained = tensor_bytes(model, trainable=False), tensor_bytes(model, trainable=True)
    peak = peak_bytes(run.device)
    parts = {
        N_("Frozen base weights"): frozen,
        trained_part: trained,
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
