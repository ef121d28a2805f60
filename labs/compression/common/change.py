"""Whether what was measured before and after differs by more than chance explains."""

from collections.abc import Sequence
from math import sqrt

from labs.common.data import Question
from labs.common.generation import same_answer
from labs.compression.common.quality import Exam, Judged
from labs.contract import N_, Column, LabContext

# A perplexity that moves by less is not told apart from that of another text of the same kind.
VISIBLE = 0.01
# McNemar's test on pairs, at five percent.
DEVIATIONS = 1.96


def show_change(run: LabContext, base: Judged, last: Judged, asked: Exam) -> None:
    """Perplexity and exact answers before and after, and in words whether the change is visible."""
    columns = [
        Column("what", "What"),
        Column("before", "Before"),
        Column("after", "After"),
        Column("change", "Change", "fraction"),
        Column("reading", "In words"),
    ]
    moved = last.perplexity / base.perplexity - 1
    reading = N_("no visible change") if abs(moved) < VISIBLE else _worse(moved > 0)
    rows = [[N_("Perplexity"), base.perplexity, last.perplexity, moved, reading]]
    if base.accuracy is not None and last.accuracy is not None:
        lost, won = flips(asked.questions, base.answers, last.answers)
        told = _worse(lost > won) if is_visible(lost, won) else N_("no more than chance explains")
        change = last.accuracy - base.accuracy
        shares = (_percent(base.accuracy), _percent(last.accuracy))
        rows.append([N_("Exact answers"), *shares, change, told])
    run.table("change", "What it cost", columns, rows)


def flips(
    questions: Sequence[Question], before: Sequence[str], after: Sequence[str]
) -> tuple[int, int]:
    """How many answers were right before only, and after only."""
    expected = [question.example.answer for question in questions]
    rights = [
        (same_answer(first, answer), same_answer(second, answer))
        for answer, first, second in zip(expected, before, after, strict=True)
    ]
    return rights.count((True, False)), rights.count((False, True))


def is_visible(lost: int, won: int) -> bool:
    """McNemar's test (1947): whether as many flips one way would surprise if both were as likely."""
    return abs(lost - won) > DEVIATIONS * sqrt(lost + won)


def _percent(share: float) -> str:
    """In words, as the column holds perplexities too."""
    return f"{100 * share:.2f} %"


def _worse(worse: bool) -> str:
    return N_("worse") if worse else N_("better")
