"""Why teacher and student do not go together, said before a run is queued. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs.common.refusals import refuse_base
from labs.compression.distillation.choosing import chosen_layers
from labs.contract import LabError
from labs.model_files import read_json
from labs.models import ModelFacts, read_facts

if TYPE_CHECKING:
    from labs.compression.distillation.spec import DistillationParams


def refuse(facts: ModelFacts, params: DistillationParams) -> LabError | None:
    """Why this student cannot learn with these parameters, or None."""
    return refuse_base(facts, params, "Distillation")


def refuse_together(
    base: Path, params: DistillationParams, resources: Mapping[str, Path]
) -> LabError | None:
    """Why this teacher cannot teach this student, or None; reads configs and tokenizers only."""
    folder = resources.get("teacher")
    if folder is None:
        return LabError(
            "Distillation needs a teacher. Choose a larger model with the student's vocabulary.",
            parameter="teacher",
        )
    teacher = read_facts(folder)
    refused = refuse_base(teacher, params, "Distillation")
    if refused is not None:
        return refused
    if params.student_from == "teacher_layers":
        return _refuse_cut(teacher, params) or _refuse_inner(teacher, None, params)
    student = read_facts(base)
    return (
        _refuse_size(teacher, student, params)
        or _refuse_vocabulary(base, folder, teacher, student)
        or _refuse_inner(teacher, student, params)
    )


def _refuse_cut(teacher: ModelFacts, params: DistillationParams) -> LabError | None:
    try:
        kept = chosen_layers(params.layers, teacher.layers)
    except ValueError:
        return LabError(
            "“{teacher}” has {count} layers, numbered 0 to {last}; a student of the layers “{layers}” cannot be made of it.",
            parameter="layers",
            teacher=teacher.name,
            count=teacher.layers,
            last=teacher.layers - 1,
            layers=params.layers,
        )
    if len(kept) < teacher.layers:
        return None
    return LabError(
        "All {count} layers of “{teacher}” are the teacher itself. Choose fewer of them.",
        parameter="layers",
        count=teacher.layers,
        teacher=teacher.name,
    )


def _refuse_size(
    teacher: ModelFacts, student: ModelFacts, params: DistillationParams
) -> LabError | None:
    if student.parameters < teacher.parameters:
        return None
    return LabError(
        "The student “{student}” has {own} parameters, the teacher “{teacher}” {theirs}. Choose a teacher that is larger, or a student made of layers of the teacher.",
        parameter="teacher",
        student=student.name,
        own=f"{student.parameters:,}",
        teacher=teacher.name,
        theirs=f"{teacher.parameters:,}",
    )


def _refuse_vocabulary(
    base: Path, folder: Path, teacher: ModelFacts, student: ModelFacts
) -> LabError | None:
    same_size = teacher.vocab_size == student.vocab_size
    if same_size and vocabulary_of(base) == vocabulary_of(folder):
        return None
    return LabError(
        "“{teacher}” and “{student}” have different vocabularies, so a token of one means nothing to the other. Choose a teacher with the same tokenizer, or a student made of layers of the teacher.",
        parameter="teacher",
        teacher=teacher.name,
        student=student.name,
    )


def vocabulary_of(folder: Path) -> Any:
    """How a tokenizer cuts text and numbers its pieces, for comparison with another one.

    Templates, names of special tokens and the like may differ: they are the student's own.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        # Older tokenizers: the files themselves are the vocabulary.
        names = ("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model")
        return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    stored = read_json(path)
    added = stored.get("added_tokens")
    pieces = added if isinstance(added, list) else []
    return {
        "model": stored.get("model"),
        "normalizer": stored.get("normalizer"),
        "pre_tokenizer": stored.get("pre_tokenizer"),
        "added": {each.get("content"): each.get("id") for each in pieces if isinstance(each, dict)},
    }


def _refuse_inner(
    teacher: ModelFacts, student: ModelFacts | None, params: DistillationParams
) -> LabError | None:
    """Losses on what happens inside; a student of the teacher's own layers has its shapes."""
    if params.hidden_weight and student is not None and student.layers > teacher.layers:
        return LabError(
            "The student's {own} layers cannot be mapped onto the teacher's {theirs}. Set the weight of hidden states to 0, or choose a deeper teacher.",
            parameter="hidden_weight",
            own=student.layers,
            theirs=teacher.layers,
        )
    if not params.relation_weight:
        return None
    return _refuse_heads(teacher, student or teacher, params) or _refuse_layer(teacher, params)


def _refuse_layer(teacher: ModelFacts, params: DistillationParams) -> LabError | None:
    if params.relation_layer <= teacher.layers:
        return None
    return LabError(
        "“{teacher}” has no layer {layer}; it has {count}. Choose one of them, or 0 for the last.",
        parameter="relation_layer",
        teacher=teacher.name,
        layer=params.relation_layer,
        count=teacher.layers,
    )


def _refuse_heads(
    teacher: ModelFacts, student: ModelFacts, params: DistillationParams
) -> LabError | None:
    widths = teacher.heads * teacher.head_dim, student.heads * student.head_dim
    common = math.gcd(*widths)
    if not params.relation_heads or common % params.relation_heads == 0:
        return None
    return LabError(
        "{heads} relation heads do not divide the width of the attention, {theirs} in the teacher and {own} in the student. A divisor of {common} works, or 0 for as many as both have heads in common.",
        parameter="relation_heads",
        heads=params.relation_heads,
        theirs=widths[0],
        own=widths[1],
        common=common,
    )
