"""Inference: teacher, student alone and distilled student on the test split, one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labs.common.artifacts import require_artifact
from labs.common.context import with_room
from labs.common.data import Prepared, Question
from labs.common.evaluation import accuracy, ask, held_out_loss, perplexity
from labs.common.generation import same_answer
from labs.common.latency import GENERATIONS, NEW_TOKENS, WARMUP, Latency, measure_latency
from labs.common.loading import DTYPES, load_model
from labs.common.memory import peak_bytes, release, reset_peak
from labs.common.seeding import seed_everything
from labs.common.showing import SIDE_BY_SIDE, show_latency
from labs.compression.common.quality import weight_file_bytes
from labs.compression.distillation.showing import show_triangle
from labs.compression.distillation.sources import data_of, teacher_folder, tokenizer_of
from labs.compression.distillation.spec import DistillationParams
from labs.contract import N_, Column, Json, LabContext
from labs.models import read_facts

LATENCY_PROMPTS = 16
TEACHER, UNTOUCHED, ALONE, DISTILLED = (
    N_("Teacher"), N_("Student, untouched"), N_("Student alone"), N_("Student, distilled"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """What one model did on the test split."""

    loss: float
    answers: Sequence[str]
    accuracy: float | None
    latency: Latency
    peak_bytes: int
    parameters: int
    bytes_on_disk: int


def inference(params: DistillationParams, run: LabContext) -> Json:
    """Judge all models on the test split, which nothing was chosen by.

    Reads the teacher and the artifacts `student` and `alone`. Leaves quality, agreement with the
    teacher, answers side by side, latency over 100 generations after a warm-up, and the triangle of
    size, speed and quality.
    """
    data = data_of(params, run)
    folders = _folders(params, run)
    done, generations = 0, len(folders) * (WARMUP + GENERATIONS)

    def tick() -> None:
        nonlocal done
        run.check_stop()
        run.progress(done, generations, "answering one by one")
        done += 1

    arms = {name: _judge(params, run, data, folder, tick) for name, folder in folders.items()}
    run.progress(1, 1, "done")
    agreements = {name: agreement(arm.answers, arms[TEACHER].answers) for name, arm in arms.items()}
    _show(run, data, arms, agreements)
    measured = _metrics(arms, agreements)
    run.log(int(run.result("distill").get("steps", 0)), measured)
    return {**measured, "test/loss": arms[DISTILLED].loss, "test/teacher_loss": arms[TEACHER].loss}


def _folders(params: DistillationParams, run: LabContext) -> dict[str, Path]:
    """The models in the order in which they are shown; the teacher, then students."""
    found = {TEACHER: teacher_folder(params, run)}
    if params.student_from == "base":
        found[UNTOUCHED] = run.base_model
    if params.compare_alone:
        found[ALONE] = require_artifact(run, "alone", "distill")
    found[DISTILLED] = require_artifact(run, "student", "distill")
    return found


def agreement(own: Sequence[str], teacher: Sequence[str]) -> float | None:
    """Share of questions that a student answers as the teacher does, rightly or wrongly."""
    if not own:
        return None
    return sum(map(same_answer, own, teacher)) / len(own)


def _judge(
    params: DistillationParams,
    run: LabContext,
    data: Prepared,
    folder: Path,
    tick: Callable[[], None],
) -> Arm:
    """Load one model, ask it everything, and let go of it."""
    reset_peak(run.device)
    seed_everything(run.seed)
    tokenizer = tokenizer_of(params, run)
    model = load_model(folder, run.device, DTYPES[params.precision])
    found: list[str] = []
    if data.test_questions:
        found = ask(model, tokenizer, data.test_questions, run.device, params)
    run.check_stop()
    timed = [row.ids[: max(1, row.prompt_length)] for row in data.test[:LATENCY_PROMPTS]]
    prompts, _ = with_room(model, params, timed, NEW_TOKENS)
    arm = Arm(
        loss=held_out_loss(model, tokenizer, data.test, run.device, params),
        answers=found,
        accuracy=accuracy(found, data.test_questions) if data.matches_answers else None,
        latency=measure_latency(model, prompts, run.device, tick),
        peak_bytes=peak_bytes(run.device),
        parameters=read_facts(folder).parameters,
        bytes_on_disk=weight_file_bytes(folder),
    )
    del model
    release(run.device)
    return arm


def _metrics(arms: dict[str, Arm], agreements: dict[str, float | None]) -> dict[str, float]:
    own, teacher, alone = arms[DISTILLED], arms[TEACHER], arms.get(ALONE)
    untouched = arms.get(UNTOUCHED)
    found = {
        "test/accuracy": own.accuracy,
        "test/teacher_accuracy": teacher.accuracy,
        "test/alone_accuracy": alone.accuracy if alone else None,
        "test/base_accuracy": untouched.accuracy if untouched else None,
        "test/agreement": agreements[DISTILLED],
        "test/alone_agreement": agreements.get(ALONE),
        "test/answer_perplexity": perplexity(own.loss),
        **own.latency.metrics(),
    }
    return {key: value for key, value in found.items() if value is not None}


def _show(
    run: LabContext,
    data: Prepared,
    arms: dict[str, Arm],
    agreements: dict[str, float | None],
) -> None:
    columns = [
        Column("model", "Model"),
        Column("accuracy", "Exact answers", "fraction"),
        Column("agreement", "Answers as the teacher's", "fraction"),
        Column("loss", "Loss", "nats per target token"),
        Column("perplexity", "Perplexity of the answers"),
        Column("parameters", "Parameters"),
        Column("bytes", "Size", "bytes"),
        Column("speed", "Speed", "tokens/s"),
    ]
    rows = [
        [
            *(name, arm.accuracy, agreements[name], arm.loss, perplexity(arm.loss)),
            *(arm.parameters, arm.bytes_on_disk, arm.latency.tokens_per_second),
        ]
        for name, arm in arms.items()
    ]
    run.table("quality", "Test split: teacher and students", columns, rows)
    if data.test_questions:
        _show_answers(run, data.test_questions, arms)
    show_latency(
        run, {n: a.latency for n, a in arms.items()}, {n: a.peak_bytes for n, a in arms.items()}
    )
    triangle = {
        name: {"parameters": arm.parameters, "speed": arm.latency.tokens_per_second, "accuracy": arm.accuracy}
        for name, arm in arms.items()
    }  # fmt: skip
    show_triangle(run, triangle)


def _show_answers(run: LabContext, questions: Sequence[Question], arms: dict[str, Arm]) -> None:
    """The same prompts through all models; the first ones, not chosen ones."""
    keys = {DISTILLED: "tuned", UNTOUCHED: "base", ALONE: "alone", TEACHER: "teacher"}
    columns = [Column("prompt", "Prompt"), Column("expected", "Expected")]
    columns += [Column(keys[name], name) for name in arms]
    rows = [
        {
            "prompt": question.text,
            "expected": question.example.answer,
            **{keys[name]: arm.answers[i] for name, arm in arms.items()},
        }
        for i, question in enumerate(questions[:SIDE_BY_SIDE])
    ]
    run.samples("side_by_side", "Greedy answers side by side", columns, rows)
