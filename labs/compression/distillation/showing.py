"""What the page of a distillation shows."""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from labs.common.evaluation import perplexity
from labs.compression.distillation.labels import Lesson
from labs.compression.distillation.spec import DistillationParams
from labs.compression.distillation.teacher import Evidence
from labs.contract import N_, Axis, Column, Json, LabContext, Series
from labs.models import ModelFacts

SHOWN_TOKENS = 24
MOST_LIKELY = 5


def show_models(run: LabContext, teacher: ModelFacts, student: Json) -> None:
    """Teacher and student beside each other, before anything is learned."""
    columns = [
        Column("model", "Model"),
        Column("name", "Name"),
        Column("parameters", "Parameters"),
        Column("layers", "Layers"),
        Column("width", "Width"),
        Column("share", "Share", "fraction"),
    ]
    size = teacher.parameters
    rows = [
        [N_("Teacher"), teacher.name, size, teacher.layers, teacher.hidden_size, 1.0],
        [
            *(N_("Student"), student["name"], student["parameters"], student["layers"]),
            *(student["width"], student["parameters"] / size),
        ],
    ]
    run.table("models", "Teacher and student", columns, rows)


def show_check(run: LabContext, evidence: Evidence) -> None:
    """What the teacher was judged by."""
    columns = [
        Column("who", "Who"),
        Column("accuracy", "Exact answers", "fraction"),
        Column("loss", "Loss", "nats per target token"),
        Column("perplexity", "Perplexity"),
    ]
    known = {N_("Teacher"): evidence.teacher, N_("Student, untouched"): evidence.student}
    rows: list[list[object]] = [
        [who, each.accuracy, each.loss, perplexity(each.loss)] for who, each in known.items()
    ]
    bound = evidence.frequencies
    rows.append([N_("Frequencies of the tokens"), None, bound, perplexity(bound)])
    rows.append([N_("Always the commonest answer"), evidence.commonest, None, None])
    run.table("teacher_check", "Is this a teacher? Measured on the validation split", columns, rows)


def show_lesson(
    run: LabContext,
    params: DistillationParams,
    lesson: Lesson,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """How many rows of which kind, and what the teacher says at the first positions."""
    answered = len(lesson.rows) - lesson.labelled
    targets = [row.targets for row in lesson.rows]
    columns = [
        Column("kind", "Rows"),
        Column("rows", "Number"),
        Column("targets", "Target tokens"),
    ]
    rows = [
        [N_("With a true answer"), lesson.labelled, sum(targets[: lesson.labelled])],
        [N_("Answered by the teacher"), answered, sum(targets[lesson.labelled :])],
    ]
    run.table("lesson", "What the student learns from", columns, rows)
    if lesson.soft is not None:
        _show_soft_labels(run, params, lesson, tokenizer)


def _show_soft_labels(
    run: LabContext,
    params: DistillationParams,
    lesson: Lesson,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """The least certain of the first positions: there soft labels say most."""
    assert lesson.soft is not None
    first = torch.arange(
        min(sum(row.targets for row in lesson.rows[:64]), len(lesson.soft.log_probs))
    )
    soft = lesson.soft[first]
    certain = soft.log_probs.max(-1).values
    places = certain.argsort()[:SHOWN_TOKENS].sort().values
    true = [token for row in lesson.rows[:64] for token in row.ids[max(1, row.prompt_length) :]]
    rows = []
    for place in places.tolist():
        best = soft.log_probs[place].topk(min(MOST_LIKELY, soft.log_probs.shape[-1]))
        tokens = best.indices if soft.tokens is None else soft.tokens[place][best.indices]
        said = [
            f"{tokenizer.decode([int(token)])!r} {value:.1%}"
            for token, value in zip(tokens, best.values.exp().tolist(), strict=True)
        ]
        rows.append({"true": repr(tokenizer.decode([true[place]])), "soft": ",  ".join(said)})
    columns = [
        Column("true", "Token in the row"),
        Column("soft", "What the teacher holds for likely"),
    ]
    run.samples("soft_labels", "Soft labels where the teacher is least certain", columns, rows)


def show_triangle(run: LabContext, arms: Mapping[str, Json]) -> None:
    """Size, speed and quality, two at a time; a point for each model."""
    sizes, speeds = Axis("Parameters", log=True), Axis("Generation speed", "tokens/s")
    quality = Axis("Exact answers", "fraction")
    pairs: Sequence[tuple[str, str, Axis, str, Axis, str]] = (
        ("size_quality", N_("Size and quality"), sizes, "parameters", quality, "accuracy"),
        ("speed_quality", N_("Speed and quality"), speeds, "speed", quality, "accuracy"),
        ("size_speed", N_("Size and speed"), sizes, "parameters", speeds, "speed"),
    )
    for name, title, x, across, y, up in pairs:
        series = [
            Series(who, [arm[across]], [arm[up]], [who])
            for who, arm in arms.items()
            if arm[up] is not None
        ]
        if series:
            run.plot(name, title, x, y, series, "points")
