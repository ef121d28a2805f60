"""The stages of the pruning lab but for the last, which is in analysis.py."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from labs.common.artifacts import require_artifact, save_model
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.evaluation import perplexity
from labs.common.loading import DTYPES, load_model, load_tokenizer
from labs.common.memory import peak_bytes, release, reset_peak
from labs.common.seeding import seed_everything
from labs.common.showing import show_data
from labs.compression.common.layerwise import Layer
from labs.compression.common.quality import (
    Candidate,
    Exam,
    exam,
    measured_loss,
    metrics_of,
    plain,
    weight_file_bytes,
)
from labs.compression.common.showing import show_judged
from labs.compression.common.stages import judge_all
from labs.compression.common.texts import calibration
from labs.compression.pruning.prune import prune_model
from labs.compression.pruning.recovery import load_recovered, recover
from labs.compression.pruning.reports import (
    Report,
    mean_error,
    read_reports,
    read_summary,
    sparsity_of,
    write_reports,
)
from labs.compression.pruning.showing import (
    log_layers,
    show_layers,
    show_mask,
    show_matrices,
    show_targets,
    show_text,
)
from labs.compression.pruning.spec import LAB, PruningParams
from labs.contract import N_, Json, LabContext
from labs.models import read_facts
from labs.published import is_whole


def setup(params: PruningParams, run: LabContext) -> Json:
    """Check model, parameters and data against each other; show what will be pruned, and with what.

    Raises:
        LabError: If the model cannot be pruned so.
        BadData: If the running text is shorter than one block.
    """
    facts = read_facts(run.base_model)
    refused = LAB.accepts.refuse(facts, params)
    if refused is not None:
        raise refused
    tokenizer = load_tokenizer(run.base_model)
    run.progress(0, 1, "reading the data")
    data = prepare(run.dataset, tokenizer, params.max_length)
    show_data(
        run, tokenizer, data, lambda row: str(tokenizer.decode(list(row.ids[row.prompt_length :])))
    )
    blocks = calibration(run, params, tokenizer)
    asked = exam(run, params)
    show_text(run, blocks, len(asked.stream), params)
    show_targets(run, facts, params)
    inside = sum(m.count * m.outputs * m.inputs for m in facts.matrices.values())
    run.log(0, {"model/parameters": facts.parameters})
    run.progress(1, 1, "ready")
    return {
        "parameters": facts.parameters,
        "prunable_parameters": inside,
        "prunable_fraction": inside / facts.parameters,
        "calibration_tokens": blocks.numel(),
        "evaluation_tokens": len(asked.stream),
    }


def prune(params: PruningParams, run: LabContext) -> Json:
    """Measure the untouched model, prune it layer by layer, save it, and recover if asked.

    Leaves the artifact `pruned`, whole and loadable, with pruning.json beside its weights; with
    recovery steps also the artifact `recovery`, an adapter on the pruned model.
    """
    kept = run.run_dir / "artifacts" / "pruned"
    # A run that was interrupted while it recovered need not prune again.
    earlier = is_whole(kept)
    summary = read_summary(kept) if earlier else _prune(params, run)
    if params.recovery_steps:
        summary |= recover(params, run, kept)
        if earlier:
            # What training resumes after supersedes points of a later step: layers have steps too.
            log_layers(run, read_reports(kept))
    return summary


def inference(params: PruningParams, run: LabContext) -> Json:
    """The same text and questions through base and pruned model, and the recovered one if any."""
    pruned = require_artifact(run, "pruned", "prune")
    candidates = {
        N_("Base"): plain(run, params, run.base_model),
        N_("Pruned"): plain(run, params, pruned),
    }
    if params.recovery_steps:
        adapter = require_artifact(run, "recovery", "prune")
        candidates[N_("Pruned, with LoRA")] = Candidate(
            pruned, lambda: load_recovered(params, run, pruned, adapter)
        )
    asked = exam(run, params)
    arms = judge_all(run, params, candidates, asked)
    show_judged(run, params, arms, asked)
    before, after, *recovered = arms.values()
    # The artifact that further runs start from is the pruned model, without the adapter.
    measured = metrics_of(after, before)
    for arm in recovered:
        measured["recovery/perplexity"] = arm.perplexity
        if arm.accuracy is not None:
            measured["recovery/accuracy"] = arm.accuracy
    run.log(read_facts(run.base_model).layers, measured)
    run.progress(1, 1, "done")
    return {
        **measured,
        "test/loss": after.loss,
        "test/base_loss": before.loss,
        "latency/base_mean_seconds": before.latency.mean,
    }


def _prune(params: PruningParams, run: LabContext) -> Json:
    asked = exam(run, params)
    blocks = calibration(run, params, asked.tokenizer)
    reset_peak(run.device)
    seed_everything(run.seed)
    run.progress(0, 1, "loading the base model")
    model = load_model(run.base_model, run.device, DTYPES[params.precision])
    before = _perplexity(params, run, model, asked)
    run.log(0, {"test/perplexity": before})
    reports: list[Report] = []

    def told(layer: Layer, found: Sequence[Report]) -> None:
        if not reports:
            show_mask(run, next(iter(layer.matrices.values())).weight)
        reports.extend(found)
        log_layers(run, found)
        show_layers(run, reports, layer.count)
        run.progress(layer.index + 1, layer.count, "pruning layer by layer")

    prune_model(model, blocks, params, run.device, told, run.check_stop)
    show_matrices(run, reports)
    layers = reports[-1].layer + 1
    after = _perplexity(params, run, model, asked)
    run.log(layers, {"test/perplexity": after})
    summary = {
        "sparsity": sparsity_of(reports),
        "model_sparsity": sum(r.zeros for r in reports) / read_facts(run.base_model).parameters,
        "output_error": mean_error(reports),
        "prune_seconds": sum(report.seconds for report in reports),
        "test/base_perplexity": before,
        "test/perplexity": after,
        "memory/peak_bytes": peak_bytes(run.device),
    }
    return _save(params, run, model, reports, summary)


def _save(
    params: PruningParams,
    run: LabContext,
    model: PreTrainedModel,
    reports: Sequence[Report],
    summary: Json,
) -> Json:
    """Leave the artifact in the base's own format, and let go of the model."""
    stored = getattr(torch, read_facts(run.base_model).dtype, model.dtype)
    with run.artifact("pruned", "model", reports[-1].layer + 1) as folder:
        save_model(model, stored, load_tokenizer(run.base_model), run.base_model, folder)
        write_card(folder, LAB, params, run, summary, library="transformers")
        write_reports(folder, reports, summary)
        size = weight_file_bytes(folder)
    run.log(reports[-1].layer + 1, {"artifact/bytes": size})
    del model
    release(run.device)
    return summary


def _perplexity(
    params: PruningParams, run: LabContext, model: PreTrainedModel, asked: Exam
) -> float:
    def tick(share: float) -> None:
        run.progress(share, 1, "measuring perplexity")

    return perplexity(measured_loss(run, params, model, asked, tick))
