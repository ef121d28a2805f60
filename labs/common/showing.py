"""Tables and samples that several labs show."""

from collections.abc import Callable, Sequence
from statistics import median

from transformers import PreTrainedTokenizerBase

from labs.common.data import Prepared, Question
from labs.common.formatting import Encoded
from labs.common.latency import Latency
from labs.contract import Column, LabContext

SHOWN_ROWS = 5
SIDE_BY_SIDE = 8


def show_data(
    run: LabContext,
    tokenizer: PreTrainedTokenizerBase,
    data: Prepared,
    learned: Callable[[Encoded], str],
) -> None:
    """The sizes of the splits, and some rows with what is masked and, in words, what is learned."""
    columns = [
        Column("split", "Split"),
        Column("rows", "Rows"),
        Column("used", "Rows used"),
        Column("median", "Median length", "tokens"),
        Column("longest", "Longest", "tokens"),
        Column("truncated", "Truncated", "fraction"),
    ]
    rows = []
    for name in ("train", "validation", "test"):
        used = getattr(data, name)
        lengths = [len(row.ids) for row in used]
        cut = sum(row.truncated for row in used) / len(used)
        count = len(getattr(data.splits, name))
        rows.append([name, count, len(used), median(lengths), max(lengths), cut])
    run.table("data", "Data, as the model reads it", columns, rows)
    _show_masks(run, tokenizer, data, learned)


def _show_masks(
    run: LabContext,
    tokenizer: PreTrainedTokenizerBase,
    data: Prepared,
    learned: Callable[[Encoded], str],
) -> None:
    columns = [
        Column("prompt", "Given (masked)"),
        Column("answer", "Learned"),
    ]
    rows = [
        {
            "prompt": tokenizer.decode(list(row.ids[: row.prompt_length])),
            "answer": learned(row),
        }
        for row in data.train[:SHOWN_ROWS]
    ]
    run.samples("masks", "Training rows: what is given and what is learned", columns, rows)


def show_side_by_side(
    run: LabContext, questions: Sequence[Question], base: Sequence[str], tuned: Sequence[str]
) -> None:
    """The same held-out prompts through both models; the first ones, not chosen ones."""
    columns = [
        Column("prompt", "Prompt"),
        Column("expected", "Expected"),
        Column("base", "Base"),
        Column("tuned", "Tuned"),
    ]
    rows = [
        {"prompt": q.text, "expected": q.example.answer, "base": before, "tuned": after}
        for q, before, after in zip(questions, base, tuned, strict=True)
    ]
    run.samples("side_by_side", "Greedy answers side by side", columns, rows[:SIDE_BY_SIDE])


def show_latency(run: LabContext, arms: dict[str, Latency], peaks: dict[str, int]) -> None:
    """Times of each arm, with how they were taken."""
    columns = [
        Column("model", "Model"),
        Column("mean", "Mean", "s"),
        Column("p50", "p50", "s"),
        Column("p95", "p95", "s"),
        Column("p99", "p99", "s"),
        Column("first", "Time to first token", "s"),
        Column("speed", "Speed", "tokens/s"),
        Column("peak", "Peak memory", "bytes"),
        Column("generations", "Generations"),
        Column("length", "Generated each", "tokens"),
    ]
    rows = [
        [
            *(name, t.mean, t.p50, t.p95, t.p99, t.first_token, t.tokens_per_second),
            *(peaks[name], t.generations, t.new_tokens),
        ]
        for name, t in arms.items()
    ]
    run.table("latency", "Latency, one prompt at a time", columns, rows)
