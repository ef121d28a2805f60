"""Where teacher, student and lesson of a run lie, and how they are loaded."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.artifacts import require_artifact
from labs.common.data import Prepared, prepare
from labs.common.loading import DTYPES, load_model, load_tokenizer
from labs.compression.distillation.choosing import chosen_layers
from labs.compression.distillation.cutting import cut
from labs.compression.distillation.labels import Lesson, load_lesson
from labs.compression.distillation.spec import DistillationParams
from labs.contract import LabContext, LabError
from labs.models import read_facts


def given_teacher(run: LabContext) -> Path:
    """The teacher as it was chosen."""
    folder = run.resource("teacher")
    if folder is None:
        raise LabError(
            "Distillation needs a teacher. Choose a larger model with the student's vocabulary.",
            parameter="teacher",
        )
    return folder


def teacher_folder(params: DistillationParams, run: LabContext) -> Path:
    """The teacher that teaches: the chosen one, or what fine-tuning has made of it."""
    if not params.teacher_steps:
        return given_teacher(run)
    return require_artifact(run, "teacher", "prepare_data")


def student_folder(params: DistillationParams, run: LabContext) -> Path:
    """The model whose tokenizer, format and settings the student has."""
    return given_teacher(run) if params.student_from == "teacher_layers" else run.base_model


def tokenizer_of(params: DistillationParams, run: LabContext) -> PreTrainedTokenizerBase:
    """The student's tokenizer; the teacher's cuts text in the same way."""
    return load_tokenizer(student_folder(params, run))


def data_of(params: DistillationParams, run: LabContext) -> Prepared:
    """The run's dataset as the student reads it."""
    return prepare(run.dataset, tokenizer_of(params, run), params.max_length)


def load_teacher(params: DistillationParams, run: LabContext) -> PreTrainedModel:
    """The teacher that teaches, frozen, in the run's precision."""
    found = load_model(teacher_folder(params, run), run.device, DTYPES[params.precision])
    return found.requires_grad_(False)


def load_student(
    params: DistillationParams, run: LabContext, teacher: Path | None = None
) -> PreTrainedModel:
    """The student as it is before it learns, in float32: small updates would round away in 16 bits.

    One made of layers has them from the teacher that teaches, or from the folder that is given.
    """
    if params.student_from == "base":
        return load_model(run.base_model, run.device, torch.float32)
    whole = load_model(teacher or teacher_folder(params, run), run.device, torch.float32)
    return cut(whole, chosen_layers(params.layers, read_facts(given_teacher(run)).layers))


def load_kept(name: str, params: DistillationParams, run: LabContext) -> PreTrainedModel:
    """A student that this run left, in the run's precision."""
    folder = require_artifact(run, name, "distill")
    return load_model(folder, run.device, DTYPES[params.precision])


def lesson_of(params: DistillationParams, run: LabContext) -> Lesson:
    """What `prepare_data` left; with the teacher online no soft labels were kept."""
    lesson = load_lesson(require_artifact(run, "soft_labels", "prepare_data"))
    return lesson if params.teacher_mode == "offline" else replace(lesson, soft=None)
