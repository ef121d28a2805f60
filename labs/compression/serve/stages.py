"""Serve, stage by stage: export, start, load test, report."""

from collections.abc import Sequence

from labs.common.artifacts import folder_bytes
from labs.common.cards import write_card
from labs.common.data import prepare
from labs.common.formatting import template_name
from labs.common.loading import load_tokenizer
from labs.compression.serve import load, showing
from labs.compression.serve.figures import Level, Timing, mean, percentile
from labs.compression.serve.service import Service, end, ensure, keep_open
from labs.compression.serve.spec import LAB, ServeParams
from labs.contract import N_, Json, LabContext, LabError
from labs.gguf import refuse_gguf_folder, write_gguf
from labs.models import read_facts

GGUF = "gguf"
FILE = "model.gguf"
# Rows are cut into prompts of the load test; no row needs to be read further.
LONGEST_ROW = 1024
SHOWN_QUESTIONS, SHOWN_TOKENS = 4, 48
PROMPTS = 64


def export(params: ServeParams, run: LabContext) -> Json:
    """Check what will be served; for llama.cpp, write it as one GGUF file.

    Leaves the artifact `gguf` for llama.cpp; other engines read the model's own folder.
    """
    facts = read_facts(run.base_model)
    tokenizer = load_tokenizer(run.base_model)
    stored = folder_bytes(run.base_model)
    rows = [[N_("Base"), facts.quantization or facts.dtype, facts.parameters, stored]]
    result: Json = {"artifact/bytes": stored, "base_bytes": stored}
    if params.engine == "llama_cpp":
        refused = refuse_gguf_folder(run.base_model, params.gguf)
        if refused is not None:
            raise refused
        with run.artifact(GGUF, GGUF) as folder:
            described = {"base_model": run.base_model_name}
            written = write_gguf(
                run.base_model, folder / FILE, params.gguf, run.base_model_name, described
            )
            write_card(folder, LAB, params, run, {"bytes": written.bytes}, "gguf", "")
        rows.append(["GGUF", params.gguf, written.parameters, written.bytes])
        result = {**result, "artifact/bytes": written.bytes, "gguf_types": dict(written.types)}
    showing.show_files(run, rows)
    run.log(0, {"artifact/bytes": result["artifact/bytes"]})
    context = params.context(facts)
    return {**result, "template": template_name(tokenizer), "context": context}


def start(params: ServeParams, run: LabContext) -> Json:
    """Load the engine, listen, and take first answers over HTTP, greedy.

    Raises:
        LabError: If the engine answers nothing.
    """
    service = ensure(params, run)
    questions = _questions(params, run)[:SHOWN_QUESTIONS]
    length = min(SHOWN_TOKENS, params.max_new_tokens)
    answers = []
    for prompt, _, _ in questions:
        asked = {"prompt": list(prompt), "max_tokens": length, "temperature": 0}
        text, timing = _ask(service, run, asked)
        answers.append((text.strip(), timing))
    texts = [(shown, expected) for _, shown, expected in questions]
    showing.show_answers(run, texts, [text for text, _ in answers])
    peak = service.engine.memory_bytes()
    run.log(0, {"load/seconds": service.load_seconds, "memory/peak_bytes": peak})
    return {
        "load/seconds": service.load_seconds,
        "memory/peak_bytes": peak,
        "first_answer_seconds": answers[0][1].total,
    }


def load_test(params: ServeParams, run: LabContext) -> Json:
    """Ask with more and more clients at the same time, each answer as long as all others.

    Metric points stand at the concurrency as their step. The common keys on latency and speed are
    those of one client, so that runs of other labs compare.
    """
    service = ensure(params, run)
    rows = [prompt for prompt, _, _ in _questions(params, run)]
    asked: list[Json] = [
        {
            "prompt": list(prompt),
            "max_tokens": params.output_tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        for prompt in load.prompts_of(rows, params.prompt_tokens, PROMPTS)
    ]
    _ask(service, run, asked[0])
    levels = []
    for concurrency in params.concurrency:
        level = load.measure(run, _target(service), concurrency, params.level_seconds, asked)
        if not level.timings:
            raise LabError(
                "None of {count} requests at concurrency {concurrency} was answered. The run's output says why.",
                count=level.errors,
                concurrency=concurrency,
            )
        levels.append(level)
        run.log(concurrency, {**_of_level(level), **(_of_one(level) if concurrency == 1 else {})})
        showing.plot_levels(run, levels)
    showing.show_levels(run, levels, params)
    peak = service.engine.memory_bytes()
    run.log(params.concurrency[-1], {"memory/peak_bytes": peak})
    return {
        "memory/peak_bytes": peak,
        "levels": [{"concurrency": each.concurrency, **_of_level(each)} for each in levels],
        "errors": sum(each.errors for each in levels),
        **_of_one(levels[0]),
    }


def report(params: ServeParams, run: LabContext) -> Json:
    """Say what was measured, then serve until nobody asks any more.

    Raises:
        Stopped: If somebody asked the run to stop: the endpoint closes at once.
    """
    service = ensure(params, run)
    showing.show_report(run, params, service.engine.name)
    keep_open(service, run)
    status = service.lease.status()
    end(run)
    used = {
        "requests": status.requests,
        "prompt_tokens": status.prompt_tokens,
        "completion_tokens": status.completion_tokens,
    }
    showing.show_use(run, used)
    return used


def _questions(params: ServeParams, run: LabContext) -> list[tuple[Sequence[int], str, str]]:
    """Token ids, text and expected answer of held-out rows; running text has only ids."""
    tokenizer = load_tokenizer(run.base_model)
    data = prepare(run.dataset, tokenizer, LONGEST_ROW)
    room = max(1, params.context(read_facts(run.base_model)) - SHOWN_TOKENS)
    if data.test_questions:
        return [(q.prompt[-room:], q.text, q.example.answer) for q in data.test_questions]
    return [(row.ids[: max(1, min(room, len(row.ids) // 2))], "", "") for row in data.test]


def _target(service: Service) -> load.Target:
    return load.Target(service.address, service.test_secret, service.model)


def _ask(service: Service, run: LabContext, asked: Json) -> tuple[str, Timing]:
    try:
        return load.ask(run, _target(service), asked)
    except load.Failed as error:
        raise LabError("The engine does not answer: {reason}", reason=error) from error


def _of_level(level: Level) -> dict[str, float]:
    return {
        "serve/first_token_seconds": percentile(level.first_tokens(), 0.5),
        "serve/inter_token_seconds": percentile(level.between(), 0.5),
        "serve/tokens_per_second": level.tokens_per_second,
    }


def _of_one(level: Level) -> dict[str, float]:
    """The common keys, which are those of one client."""
    if level.concurrency != 1:
        return {}
    totals = level.totals()
    return {
        "latency/mean_seconds": mean(totals),
        "latency/p50_seconds": percentile(totals, 0.5),
        "latency/p95_seconds": percentile(totals, 0.95),
        "latency/p99_seconds": percentile(totals, 0.99),
        "latency/first_token_seconds": mean(level.first_tokens()),
        "throughput/generated_tokens_per_second": level.tokens_per_second,
    }
