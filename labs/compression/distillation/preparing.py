"""Prepare data: a teacher that knows its subject, its answers, and its soft labels on disk."""

from functools import partial

import torch
from transformers import PreTrainedModel

from labs.common.artifacts import save_model
from labs.common.cards import write_card
from labs.common.data import Prepared
from labs.common.evaluation import evaluate
from labs.common.formatting import Encoded
from labs.common.loading import load_tokenizer, pad_id
from labs.common.memory import release
from labs.compression.distillation.labels import Lesson, answered, deal, save_lesson, speak
from labs.compression.distillation.showing import show_check, show_lesson
from labs.compression.distillation.sources import (
    data_of,
    given_teacher,
    load_student,
    load_teacher,
    teacher_folder,
    tokenizer_of,
)
from labs.compression.distillation.spec import LAB, DistillationParams
from labs.compression.distillation.teacher import (
    Evidence,
    Known,
    commonest_share,
    fine_tune,
    frequency_loss,
)
from labs.contract import N_, Json, LabContext
from labs.models import read_facts
from labs.published import is_whole

SPARE_TOKENS = 4
# Of 100: what each part of the stage takes, roughly.
TUNING, CHECKING, ANSWERING, SPEAKING = (0, 45), (45, 50), (50, 85), (85, 100)


def prepare_data(params: DistillationParams, run: LabContext) -> Json:
    """Fine-tune the teacher if asked, check it, let it answer prompts, keep its soft labels.

    Reads teacher, student and dataset. Leaves the artifacts `teacher` (where it was fine-tuned)
    and `soft_labels`: rows with the teacher's answers and, offline, its distributions.

    Raises:
        LabError: If the teacher has nothing to teach; `Evidence.refusal` states the rule.
    """
    data = data_of(params, run)
    labelled, unlabelled = deal(data, params, run.seed)
    if params.teacher_steps and not is_whole(run.run_dir / "artifacts" / "teacher"):
        _leave_teacher(params, run, data, labelled)
    teacher = load_teacher(params, run)
    evidence = _check(params, run, data, teacher)
    refused = evidence.refusal()
    if refused is not None:
        raise refused
    lesson = _lesson(params, run, teacher, labelled, unlabelled)
    with run.artifact("soft_labels", "soft_labels") as folder:
        save_lesson(lesson, folder)
    show_lesson(run, params, lesson, tokenizer_of(params, run))
    run.progress(100, 100, "done")
    return {
        "labelled_rows": lesson.labelled,
        "unlabelled_rows": len(lesson.rows) - lesson.labelled,
        "teacher_loss": evidence.teacher.loss,
        "teacher_accuracy": evidence.teacher.accuracy,
        "student_loss": evidence.student.loss,
        "student_accuracy": evidence.student.accuracy,
    }


def _part(run: LabContext, part: tuple[int, int], note: str, done: float, total: float) -> None:
    run.check_stop()
    first, last = part
    run.progress(first + (last - first) * done / total, 100, note)


def _leave_teacher(
    params: DistillationParams, run: LabContext, data: Prepared, labelled: list[Encoded]
) -> None:
    tick = partial(_part, run, TUNING, N_("fine-tuning the teacher"))
    teacher, fitted = fine_tune(params, run, data, labelled, tick)
    given = given_teacher(run)
    stored = getattr(torch, read_facts(given).dtype, torch.float32)
    with run.artifact("teacher", "teacher", fitted.best_step) as folder:
        save_model(teacher, stored, load_tokenizer(given), given, folder)
        measured = {"eval/loss": fitted.best_loss, "best_step": fitted.best_step}
        write_card(folder, LAB, params, run, measured, library="transformers")
    del teacher
    release(run.device)


def _check(
    params: DistillationParams, run: LabContext, data: Prepared, teacher: PreTrainedModel
) -> Evidence:
    """Ask teacher and untouched student the validation split, and whoever knows nothing."""
    tokenizer = tokenizer_of(params, run)
    _part(run, CHECKING, N_("checking the teacher"), 0, 1)
    known = {}
    student = load_student(params, run, teacher_folder(params, run)).eval()
    for name, model in (("teacher", teacher), ("student", student)):
        found = evaluate(model, tokenizer, data, run.device, params)
        known[name] = Known(found["eval/loss"], found.get("eval/accuracy"))
    del student
    release(run.device)
    answers = [example.answer for example in data.splits.train]
    evidence = Evidence(
        known["teacher"],
        known["student"],
        frequency_loss(data.validation),
        commonest_share(data, answers),
    )
    show_check(run, evidence)
    told = {"teacher/loss": evidence.teacher.loss}
    if evidence.teacher.accuracy is not None:
        told["teacher/accuracy"] = evidence.teacher.accuracy
    run.log(0, told)
    return evidence


def _lesson(
    params: DistillationParams,
    run: LabContext,
    teacher: PreTrainedModel,
    labelled: list[Encoded],
    unlabelled: list[Encoded],
) -> Lesson:
    tokenizer = tokenizer_of(params, run)
    longest = max(row.targets for row in labelled) + SPARE_TOKENS
    tick = partial(_part, run, ANSWERING, N_("the teacher answers unlabelled prompts"))
    own = answered(teacher, tokenizer, unlabelled, longest, params, run.device, tick)
    rows = (*labelled, *own)
    soft = None
    if params.teacher_mode == "offline":
        tick = partial(_part, run, SPEAKING, N_("keeping the teacher's soft labels"))
        soft = speak(teacher, rows, pad_id(tokenizer), params, run.device, tick)
    return Lesson(rows, len(labelled), soft)
