"""What the labs on compression show of the models they judged."""

from collections.abc import Mapping, Sequence
from math import ceil

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from labs.common.data import Question
from labs.common.showing import SIDE_BY_SIDE, show_latency
from labs.compression.common.params import CompressionParams
from labs.compression.common.quality import Exam, Judged
from labs.contract import N_, Axis, Column, LabContext, Series

# Columns that the page knows from tuning runs: an answer there is marked where it is right.
KNOWN_COLUMNS = ("base", "tuned")
SHOWN_BLOCKS = 3
SHOWN_TOKENS = 64


def show_judged(
    run: LabContext, params: CompressionParams, arms: Mapping[str, Judged], asked: Exam
) -> None:
    """Quality, sizes, latency and throughput of each model, and their answers side by side."""
    show_quality(run, params, arms, len(asked.stream))
    if asked.questions:
        show_answers(run, asked.questions, {name: arm.answers for name, arm in arms.items()})
    show_sizes(run, arms)
    show_latency(
        run,
        {name: arm.latency for name, arm in arms.items()},
        {name: arm.peak_bytes for name, arm in arms.items()},
    )
    show_throughput(run, arms)


def show_quality(
    run: LabContext, params: CompressionParams, arms: Mapping[str, Judged], tokens: int
) -> None:
    """Perplexity with its window and stride, and exact answers."""
    columns = [
        Column("model", "Model"),
        Column("perplexity", "Perplexity"),
        Column("loss", "Loss", "nats per predicted token"),
        Column("accuracy", "Exact answers", "fraction"),
        Column("window", "Window", "tokens"),
        Column("stride", "Stride", "tokens"),
        Column("text", "Running text", "tokens"),
    ]
    window, stride = params.evaluation_window, params.evaluation_stride
    rows = [
        [name, arm.perplexity, arm.loss, arm.accuracy, window, stride, tokens]
        for name, arm in arms.items()
    ]
    run.table("quality", "Test split: before and after", columns, rows)


def show_answers(
    run: LabContext, questions: Sequence[Question], answers: Mapping[str, Sequence[str]]
) -> None:
    """The same held-out prompts through all models; the first ones, not chosen ones."""
    keys = [*KNOWN_COLUMNS, *(f"arm_{i}" for i in range(len(answers)))][: len(answers)]
    columns = [Column("prompt", "Prompt"), Column("expected", "Expected")]
    columns += [Column(key, name) for key, name in zip(keys, answers, strict=True)]
    rows = [
        {
            "prompt": question.text,
            "expected": question.example.answer,
            **dict(zip(keys, said, strict=True)),
        }
        for question, *said in zip(questions, *answers.values(), strict=True)
    ]
    run.samples("side_by_side", "Greedy answers side by side", columns, rows[:SIDE_BY_SIDE])


def show_sizes(run: LabContext, arms: Mapping[str, Judged]) -> None:
    """What each model takes on the disk, against the first."""
    first = next(iter(arms.values()))
    columns = [
        Column("model", "Model"),
        Column("parameters", "Parameters"),
        Column("bytes", "Size", "bytes"),
        Column("share", "Share", "fraction"),
        Column("bits", "Bits per parameter"),
    ]
    rows = [
        [
            *(name, arm.parameters, arm.bytes_on_disk, arm.bytes_on_disk / first.bytes_on_disk),
            8 * arm.bytes_on_disk / arm.parameters,
        ]
        for name, arm in arms.items()
    ]
    run.table("sizes", "Size on disk", columns, rows)


def show_throughput(run: LabContext, arms: Mapping[str, Judged]) -> None:
    """Tokens a second against the batch size, a line for each model."""
    series = [
        Series(name, list(arm.throughput), list(arm.throughput.values()))
        for name, arm in arms.items()
    ]
    x, y = Axis("Prompts at once", log=True), Axis("Generation speed", "tokens/s")
    run.plot("throughput", "Throughput by batch size", x, y, series)


def show_text(
    run: LabContext,
    params: CompressionParams,
    tokenizer: PreTrainedTokenizerBase,
    blocks: Tensor,
    stream: Tensor,
) -> None:
    """What calibrates and what is judged on: how much of it, and how it begins."""
    columns = [
        Column("use", "Use"),
        Column("split", "Split"),
        Column("blocks", "Blocks"),
        Column("length", "Length", "tokens"),
        Column("tokens", "Tokens"),
        Column("stride", "Stride", "tokens"),
    ]
    windows = ceil(len(stream) / params.evaluation_stride)
    window, stride = params.evaluation_window, params.evaluation_stride
    rows = [
        [N_("Calibration"), "train", len(blocks), blocks.shape[1], blocks.numel(), None],
        [N_("Perplexity"), "test", windows, window, len(stream), stride],
    ]
    run.table("text", "Running text, packed without padding", columns, rows)
    shown = [{"block": tokenizer.decode(block[:SHOWN_TOKENS])} for block in blocks[:SHOWN_BLOCKS]]
    run.samples("blocks", "Calibration blocks: how they begin", [Column("block", "Block")], shown)
