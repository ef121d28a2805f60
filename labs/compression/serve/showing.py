"""Tables and plots of a serving run. Imports no torch."""

from collections.abc import Sequence
from typing import Any

from labs.compression.serve.figures import Level, mean, percentile
from labs.compression.serve.spec import ServeParams
from labs.contract import N_, Axis, Column, Json, LabContext, Series

ENGINES = {
    "transformers": N_(
        "transformers, in the trainer: waiting requests join between two tokens (continuous batching); a new prompt is read whole meanwhile"
    ),
    "llama_cpp": N_("llama.cpp, in the trainer: parallel slots, computed together"),
    "vllm": N_("vLLM, a process of its own in an environment of its own: continuous batching"),
}


def show_files(run: LabContext, rows: Sequence[Sequence[Any]]) -> None:
    """What is served, and what it was made from."""
    columns = [
        Column("model", "Model"),
        Column("format", "Format"),
        Column("parameters", "Parameters"),
        Column("bytes", "Size on disk", "bytes"),
    ]
    run.table("files", "Files", columns, rows)


def show_answers(
    run: LabContext, questions: Sequence[tuple[str, str]], answers: Sequence[str]
) -> None:
    """The first held-out prompts through the endpoint, greedy."""
    columns = [
        Column("prompt", "Prompt"),
        Column("expected", "Expected"),
        Column("answer", "Answer"),
    ]
    rows = [
        {"prompt": prompt, "expected": expected, "answer": answer}
        for (prompt, expected), answer in zip(questions, answers, strict=True)
    ]
    run.samples("answers", "First answers of the endpoint, greedy", columns, rows)


def show_levels(run: LabContext, levels: Sequence[Level], params: ServeParams) -> None:
    """Times and rates by concurrency."""
    _table_of_latency(run, levels)
    _table_of_rates(run, levels, params)


def plot_levels(run: LabContext, levels: Sequence[Level]) -> None:
    """The same as plots, which grow with each level."""
    clients = Axis("Clients at the same time")
    at = [float(level.concurrency) for level in levels]
    rate = [level.tokens_per_second for level in levels]
    run.plot(
        "throughput",
        "Tokens per second against concurrency",
        clients,
        Axis("Tokens of all clients together", "tokens/s"),
        [Series(N_("Measured"), at, rate)],
    )
    for name, title, of in (
        ("first_token", "Time to first token against concurrency", Level.first_tokens),
        ("latency", "Time of a whole answer against concurrency", Level.totals),
    ):
        series = [
            Series(label, at, [percentile(of(level), share) for level in levels])
            for label, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        ]
        run.plot(name, title, clients, Axis("Time", "s"), series)


def _table_of_latency(run: LabContext, levels: Sequence[Level]) -> None:
    columns = [
        Column("clients", "Clients"),
        Column("what", "Time"),
        Column("mean", "Mean", "s"),
        Column("p50", "p50", "s"),
        Column("p95", "p95", "s"),
        Column("p99", "p99", "s"),
        Column("count", "Measured"),
    ]
    kinds = (
        (N_("to the first token"), Level.first_tokens),
        (N_("between two pieces of text"), Level.between),
        (N_("of the whole answer"), Level.totals),
    )
    rows = [
        [
            *(level.concurrency, name, mean(values)),
            *(percentile(values, share) for share in (0.5, 0.95, 0.99)),
            len(values),
        ]
        for level in levels
        for name, values in ((name, of(level)) for name, of in kinds)
    ]
    run.table("times", "Load test: times, as clients see them", columns, rows)


def _table_of_rates(run: LabContext, levels: Sequence[Level], params: ServeParams) -> None:
    columns = [
        Column("clients", "Clients"),
        Column("answers", "Answers"),
        Column("errors", "Errors"),
        Column("seconds", "Seconds", "s"),
        Column("tokens", "Tokens of an answer, mean"),
        Column("rate", "Speed of all", "tokens/s"),
        Column("each", "Speed of each", "tokens/s"),
        Column("under_way", "Under way, by Little's law"),
        Column("slots", "Answers at once, at most"),
    ]
    rows = [
        [
            *(level.concurrency, len(level.timings), level.errors, level.seconds),
            level.tokens / len(level.timings),
            level.tokens_per_second,
            level.tokens_per_second / level.concurrency,
            level.mean_under_way,
            params.slots,
        ]
        for level in levels
    ]
    run.table("rates", "Load test: rates", columns, rows)


def show_report(run: LabContext, params: ServeParams, engine: str) -> None:
    """The run in one table."""
    started, tested = run.result("start"), run.result("load_test")
    levels: list[Json] = tested.get("levels", [])
    best = max((level["serve/tokens_per_second"] for level in levels), default=None)
    columns = [Column("what", "What"), Column("value", "Value"), Column("unit", "Unit")]
    rows: list[list[Any]] = [
        [N_("Engine"), ENGINES[engine], ""],
        [N_("Prompt length"), params.prompt_tokens, N_("tokens")],
        [N_("Answer length"), params.output_tokens, N_("tokens")],
        [N_("Size on disk"), run.result("export").get("artifact/bytes"), N_("bytes")],
        [N_("Time to load"), started.get("load/seconds"), "s"],
        [N_("Peak memory"), tested.get("memory/peak_bytes"), N_("bytes")],
        [N_("Fastest level, all clients together"), best, N_("tokens/s")],
        [N_("Errors"), tested.get("errors"), ""],
    ]
    run.table("report", "Report", columns, rows)


def show_use(run: LabContext, used: Json) -> None:
    """What was asked while the endpoint was open."""
    columns = [
        Column("requests", "Requests"),
        Column("prompt_tokens", "Prompt tokens"),
        Column("completion_tokens", "Answer tokens"),
    ]
    run.table("use", "Use of the endpoint", columns, [list(used.values())])
