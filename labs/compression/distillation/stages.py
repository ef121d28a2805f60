"""Setup, distill and deploy; `prepare_data` and `inference` have modules of their own."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from labs.common.agreement import TOLERANCES, agree, compared_prompts, logits
from labs.common.artifacts import folder_bytes, require_artifact, save_model
from labs.common.cards import write_card
from labs.common.data import Prepared
from labs.common.evaluation import evaluate
from labs.common.learners import Answers, Learner
from labs.common.loading import DTYPES, count_parameters, pad_id
from labs.common.memory import release, reset_peak
from labs.common.seeding import seed_everything
from labs.common.showing import show_data
from labs.common.stages.merge import show_sizes
from labs.common.state import matrices
from labs.common.training import Fit, fit_together
from labs.compression.distillation.inner import watching
from labs.compression.distillation.labels import Lesson, deal
from labs.compression.distillation.learning import Distilling, Projected
from labs.compression.distillation.showing import show_models
from labs.compression.distillation.sources import (
    data_of,
    given_teacher,
    lesson_of,
    load_kept,
    load_student,
    load_teacher,
    student_folder,
    teacher_folder,
    tokenizer_of,
)
from labs.compression.distillation.spec import LAB, DistillationParams
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts

ALONE = {
    "train/loss": "alone/train_loss",
    "eval/loss": "alone/loss",
    "eval/accuracy": "alone/accuracy",
}


def setup(params: DistillationParams, run: LabContext) -> Json:
    """Check teacher, student, parameters and data against each other; count what is trained.

    Reads both models and the dataset; leaves tables of the data and of the two models.

    Raises:
        LabError: If they do not go together.
    """
    accepts, teacher = LAB.accepts, given_teacher(run)
    refused = accepts.refuse(read_facts(student_folder(params, run)), params)
    refused = refused or accepts.refuse_together(run.base_model, params, {"teacher": teacher})
    if refused is not None:
        raise refused
    tokenizer, data = tokenizer_of(params, run), data_of(params, run)
    show_data(run, tokenizer, data, lambda row: str(tokenizer.decode(list(row.ids[row.prompt_length :]))))  # fmt: skip
    run.progress(1, 2, "loading the student")
    student = load_student(params, run, teacher)
    total, _ = count_parameters(student)
    facts = read_facts(teacher)
    named = {
        "name": f"{facts.name}: {params.layers}"
        if params.student_from != "base"
        else run.base_model_name,
        "parameters": total,
        "layers": int(student.config.num_hidden_layers),
        "width": int(student.config.hidden_size),
    }
    show_models(run, facts, named)
    labelled, unlabelled = deal(data, params, run.seed)
    counted = {"parameters": total, "trainable_parameters": total, "trainable_fraction": 1.0}
    run.log(0, {f"model/{name}": value for name, value in counted.items()})
    run.progress(2, 2, "ready")
    return {
        **counted,
        "teacher_parameters": facts.parameters,
        "labelled_rows": len(labelled),
        "unlabelled_rows": len(unlabelled),
    }


def distill(params: DistillationParams, run: LabContext) -> Json:
    """Train the student with its teacher and, beside it, the same student without.

    Both begin with the same weights and take the same steps with the same rates. The one alone
    learns from the labelled rows only; step 0 is the untouched student. Reads the lesson and the
    newest checkpoint; leaves the artifacts `student` and `alone`, each the best state by validation.
    """
    tokenizer, data = tokenizer_of(params, run), data_of(params, run)
    lesson, pad = lesson_of(params, run), pad_id(tokenizer)
    reset_peak(run.device)
    seed_everything(run.seed)
    with ExitStack() as watched:
        student = _trainable(params, run)
        model, objective = _with_teacher(params, run, student, lesson, pad, watched)
        measure = partial(evaluate, student, tokenizer, data, run.device, params)
        learners = {"student": Learner(model, objective, measure, decays=matrices)}
        models = {"student": student}
        if params.compare_alone:
            models["alone"] = _trainable(params, run)
            own = Answers(lesson.rows[: lesson.labelled], pad, run.device)
            measured = partial(evaluate, models["alone"], tokenizer, data, run.device, params)
            learners["alone"] = Learner(
                models["alone"], own, measured, decays=matrices, names=ALONE
            )
        fits = fit_together(learners, params, run)
    return _leave(params, run, models, fits, data)


def _trainable(params: DistillationParams, run: LabContext) -> PreTrainedModel:
    student = load_student(params, run)
    if params.gradient_checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    return student.requires_grad_(True)


def _with_teacher(
    params: DistillationParams,
    run: LabContext,
    student: PreTrainedModel,
    lesson: Lesson,
    pad: int,
    stack: ExitStack,
) -> tuple[nn.Module, Distilling]:
    """The model that learns, and its objective: the teacher stays only where it is online."""
    if params.teacher_mode == "offline":
        return student, Distilling(lesson, pad, params, run.device)
    teacher = load_teacher(params, run)
    attentions = None
    if params.relation_weight:
        layer = params.relation_layer - 1
        attentions = (
            stack.enter_context(watching(student)),
            stack.enter_context(watching(teacher, layer)),
        )
    objective = Distilling(lesson, pad, params, run.device, teacher, attentions)
    if not params.hidden_weight:
        return student, objective
    return Projected(student, int(teacher.config.hidden_size)), objective


def _leave(
    params: DistillationParams,
    run: LabContext,
    models: dict[str, PreTrainedModel],
    fits: dict[str, Fit],
    data: Prepared,
) -> Json:
    tokenizer, base = tokenizer_of(params, run), student_folder(params, run)
    stored = getattr(torch, read_facts(base).dtype, torch.float32)
    summary: Json = {"steps": fits["student"].steps, "stopped_early": fits["student"].stopped_early}
    for name, model in models.items():
        best = evaluate(model, tokenizer, data, run.device, params)
        own = {"best_step": fits[name].best_step, **best}
        prefix = "" if name == "student" else "alone_"
        summary |= {f"{prefix}{key}": value for key, value in own.items()}
        kind = "model" if name == "student" else "alone"
        with run.artifact(name, kind, fits[name].best_step) as folder:
            save_model(model, stored, tokenizer, base, folder)
            write_card(folder, LAB, params, run, own, library="transformers")
            size = folder_bytes(folder)
        if name == "student":
            run.log(fits[name].steps, {"artifact/bytes": size})
            summary["student_bytes"] = size
    models.clear()
    release(run.device)
    return summary


def deploy(params: DistillationParams, run: LabContext) -> Json:
    """Load the saved student as anybody would and prove that it says the same; GGUF if asked.

    Raises:
        LabError: If a logit differs by more than rounding explains.
    """
    kept = require_artifact(run, "student", "distill")
    prompts = compared_prompts(data_of(params, run))
    run.progress(1, 2, "loading the saved student")
    ours = logits(load_kept("student", params, run), prompts, run.device)
    release(run.device)
    plain: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        kept, local_files_only=True, use_safetensors=True, device_map={"": run.device}
    )
    coarser = max(plain.dtype, DTYPES[params.precision], key=TOLERANCES.__getitem__)
    found = agree(ours, logits(plain, prompts, run.device), coarser)
    found.require(
        "The saved model says something else when it is loaded plainly: a logit differs by {difference}, more than the {tolerance} that rounding explains."
    )
    columns = [Column("what", "Compared with the tuned model"), Column("value", "max |Δlogit|")]
    rows = [[N_("Saved and loaded plainly"), found.difference], [N_("Tolerance"), found.tolerance]]
    run.table("merge", "The saved model says the same", columns, rows)
    sizes = {"student": folder_bytes(kept)}
    if params.gguf != "none":
        sizes["gguf"] = _write_gguf(params, run, kept)
    show_sizes(run, {**sizes, "teacher": folder_bytes(teacher_folder(params, run))})
    run.progress(2, 2, "done")
    return {"difference": found.difference, "tolerance": found.tolerance, **{f"{name}_bytes": size for name, size in sizes.items()}}  # fmt: skip


def _write_gguf(params: DistillationParams, run: LabContext, kept: Path) -> int:
    from labs.gguf import refuse_gguf, write_gguf

    refused = refuse_gguf(read_facts(kept), params.gguf)
    if refused is not None:
        raise refused
    with run.artifact("gguf", "gguf") as folder:
        described = {"dataset": run.dataset_name, "lab": LAB.slug}
        write_gguf(kept, folder / f"student-{params.gguf}.gguf", params.gguf, "student", described)
        return folder_bytes(folder)
