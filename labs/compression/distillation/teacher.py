"""The teacher before it teaches: fine-tuned on the labelled rows if asked, then checked."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from labs.common.data import Prepared
from labs.common.evaluation import commonest_answer_share, held_out_loss, perplexity
from labs.common.formatting import Encoded
from labs.common.learners import Answers, Learner
from labs.common.loading import load_model, pad_id
from labs.common.seeding import seed_everything
from labs.common.state import matrices
from labs.common.training import Fit, fit_together
from labs.compression.distillation.sources import given_teacher, tokenizer_of
from labs.compression.distillation.spec import DistillationParams
from labs.contract import Axis, LabContext, LabError, Series

EVALUATIONS = 4


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody knows of the validation split, before any distillation."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a teacher is judged by, all of it measured on the validation split.

    `frequencies` is the loss of always predicting every answer token by its frequency there, the
    best that can be done without reading the question; `commonest` the share of exact answers of
    whoever always gives the commonest answer of the training rows.
    """

    teacher: Known
    student: Known
    frequencies: float
    commonest: float | None

    def refusal(self) -> LabError | None:
        """Why this teacher has nothing to teach, or None.

        It is refused where one of these holds:

        1. Its perplexity is not below that of the answers' token frequencies: it predicts no better
           than somebody who has not read the question. Untrained models are found by this.
        2. Answers can be matched word for word, and it gives no more exact ones than the commonest
           answer would: it has not learned this task.
        3. Neither is its loss lower than that of the untouched student, nor does it give more exact
           answers: the student would learn nothing that it does not know.
        """
        told = {"parameter": "teacher_steps"}
        if self.teacher.loss >= self.frequencies:
            return LabError(
                "The teacher is untrained for this dataset: its perplexity on the validation split is {perplexity}, that of the mere frequencies of the tokens {bound}. Fine-tune it first: give it steps here, or run the lab “full” or “lora” on this dataset and choose what that leaves.",
                perplexity=f"{perplexity(self.teacher.loss):.3g}",
                bound=f"{perplexity(self.frequencies):.3g}",
                **told,
            )
        if (
            self.teacher.accuracy is not None
            and self.commonest is not None
            and self.teacher.accuracy <= self.commonest
        ):
            return LabError(
                "The teacher answers {teacher} of the validation questions exactly, no more than always giving the commonest answer ({trivial}). Fine-tune it first: give it steps here, or run the lab “full” or “lora” on this dataset and choose what that leaves.",
                teacher=f"{self.teacher.accuracy:.1%}",
                trivial=f"{self.commonest:.1%}",
                **told,
            )
        if self._is_no_better_than_the_student():
            return LabError(
                "The teacher is no better than the student as it is: its loss on the validation split is {teacher}, the student's {student}, and it gives no more exact answers. Choose a better teacher, or fine-tune this one on the dataset first.",
                teacher=f"{self.teacher.loss:.3g}",
                student=f"{self.student.loss:.3g}",
                **told,
            )
        return None

    def _is_no_better_than_the_student(self) -> bool:
        if self.teacher.loss < self.student.loss:
            return False
        theirs, own = self.teacher.accuracy, self.student.accuracy
        return theirs is None or own is None or theirs <= own


def frequency_loss(rows: Sequence[Encoded]) -> float:
    """The entropy of the answers' tokens, in nats: what their frequencies alone leave open."""
    counts = Counter(token for row in rows for token in row.ids[max(1, row.prompt_length) :])
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def commonest_share(data: Prepared, answers: Sequence[str]) -> float | None:
    """Exact answers of whoever always says the same, where answers can be matched."""
    if not data.matches_answers or not data.questions or not answers:
        return None
    return commonest_answer_share(data.questions, answers)


class Aside:
    """A training beside the run: it shows its curve at the end and can be stopped, not resumed.

    Its steps are not those of the student, so they are no metric points of the run.
    """

    def __init__(self, run: LabContext, told: Callable[[float, float], None]) -> None:
        self.seed, self.device = run.seed, run.device
        self._run, self._told = run, told
        self.losses: dict[int, float] = {}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the validation loss."""
        if "eval/loss" in values:
            self.losses[step] = values["eval/loss"]

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Hand on how far it is."""
        self._told(done, total)

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Keep nothing: it starts anew."""

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """There is none."""
        return None

    def resumed(self, step: int) -> None:
        """It never is."""

    def check_stop(self) -> None:
        """Raise `Stopped` if somebody asked the run to stop."""
        self._run.check_stop()

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._run.stopping()


def fine_tune(
    params: DistillationParams,
    run: LabContext,
    data: Prepared,
    rows: Sequence[Encoded],
    told: Callable[[float, float], None],
) -> tuple[PreTrainedModel, Fit]:
    """All weights of the chosen teacher learn the labelled rows; the best state is kept.

    As the lab `full` does it: float32, AdamW, matrices decayed.
    """
    seed_everything(run.seed)
    tokenizer = tokenizer_of(params, run)
    teacher = load_model(given_teacher(run), run.device, torch.float32).requires_grad_(True)
    steps = params.teacher_steps
    own = params.model_copy(
        update={
            "steps": steps,
            "epochs": None,
            "learning_rate": params.teacher_learning_rate,
            "evaluation_interval": max(1, math.ceil(steps / EVALUATIONS)),
            "early_stopping_patience": 0,
        }
    )

    def measure() -> dict[str, float]:
        return {"eval/loss": held_out_loss(teacher, tokenizer, data.validation, run.device, own)}

    aside = Aside(run, told)
    objective = Answers(rows, pad_id(tokenizer), run.device)
    learner = Learner(teacher, objective, measure, decays=matrices)
    fitted = fit_together({"": learner}, own, aside)[""]
    curve = Series("Teacher", list(aside.losses), list(aside.losses.values()))
    x, y = Axis("Step"), Axis("Validation loss", "nats per target token")
    run.plot("teacher_training", "Fine-tuning of the teacher", x, y, [curve])
    return teacher.eval(), fitted
