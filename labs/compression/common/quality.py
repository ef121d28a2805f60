"""A model judged before and after compression: by the same code, on the same text and questions.

One model is in memory at a time, and its peak is measured from before it is loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.context import with_room
from labs.common.data import Question, prepare
from labs.common.evaluation import accuracy, ask, perplexity
from labs.common.latency import GENERATIONS, NEW_TOKENS, WARMUP, Latency, measure_latency
from labs.common.loading import DTYPES, load_model, load_tokenizer
from labs.common.loss import autocast
from labs.common.memory import peak_bytes, release, reset_peak
from labs.common.seeding import seed_everything
from labs.compression.common.metrics import THROUGHPUT
from labs.compression.common.params import CompressionParams
from labs.compression.common.perplexity import stream_loss
from labs.compression.common.texts import evaluation_stream
from labs.compression.common.throughput import measure_throughput
from labs.contract import N_, LabContext
from labs.models import read_facts

LATENCY_PROMPTS = 16
MEASURING = N_("measuring perplexity")

# Told the share of a model's judging that is done, from 0 to 1, and what is being measured.
Tick = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to judge: the folder that holds it, and how it is loaded from there."""

    folder: Path
    load: Callable[[], PreTrainedModel]


@dataclass(frozen=True, slots=True)
class Exam:
    """What every model of a run is judged with."""

    tokenizer: PreTrainedTokenizerBase
    # Running text, [tokens].
    stream: Tensor
    # Held-out questions of the task; none where the dataset is running text itself.
    questions: tuple[Question, ...]
    matches_answers: bool
    # Beginnings of rows whose answers are timed.
    timed: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured of one model; times in seconds, throughput by batch size in tokens/s."""

    loss: float
    perplexity: float
    accuracy: float | None
    answers: Sequence[str]
    latency: Latency
    throughput: Mapping[int, float]
    peak_bytes: int
    parameters: int
    bytes_on_disk: int


def plain(run: LabContext, params: CompressionParams, folder: Path) -> Candidate:
    """A model folder, loaded by transformers in the run's precision."""
    dtype = DTYPES[params.precision]
    return Candidate(folder, lambda: load_model(folder, run.device, dtype))


def exam(run: LabContext, params: CompressionParams) -> Exam:
    """Read the running text and the task's test split, which nothing was chosen by."""
    tokenizer = load_tokenizer(run.base_model)
    data = prepare(run.dataset, tokenizer, params.max_length)
    return Exam(
        tokenizer=tokenizer,
        stream=evaluation_stream(run, params, tokenizer),
        questions=data.test_questions,
        matches_answers=data.matches_answers,
        timed=tuple(row.ids[: max(1, row.prompt_length)] for row in data.test[:LATENCY_PROMPTS]),
    )


def judge(
    run: LabContext,
    params: CompressionParams,
    candidate: Candidate,
    asked: Exam,
    tick: Tick = lambda share, note: None,
) -> Judged:
    """Load a model, measure everything, and let go of it. Nothing here is random but the seed's."""
    reset_peak(run.device)
    seed_everything(run.seed)
    tick(0.0, N_("loading the model"))
    model = candidate.load()
    loss = measured_loss(run, params, model, asked, lambda share: tick(0.3 * share, MEASURING))
    tick(0.3, N_("answering the test split"))
    found = _answers(run, params, model, asked)
    latency = _latency(run, params, model, asked, tick)
    tick(0.9, N_("measuring throughput"))
    with autocast(params.precision, run.device):
        throughput = measure_throughput(model, asked.stream, run.device, run.check_stop)
    judged = Judged(
        loss=loss,
        perplexity=perplexity(loss),
        accuracy=accuracy(found, asked.questions) if found and asked.matches_answers else None,
        answers=found,
        latency=latency,
        throughput=throughput,
        peak_bytes=peak_bytes(run.device),
        parameters=read_facts(candidate.folder).parameters,
        bytes_on_disk=weight_file_bytes(candidate.folder),
    )
    del model
    release(run.device)
    return judged


def measured_loss(
    run: LabContext,
    params: CompressionParams,
    model: PreTrainedModel,
    asked: Exam,
    told: Callable[[float], None] = lambda share: None,
) -> float:
    """Nats per token of the running text, with the run's window and stride."""

    def tick(done: int, total: int) -> None:
        run.check_stop()
        told(done / total)

    window, stride = params.evaluation_window, params.evaluation_stride
    with autocast(params.precision, run.device):
        return stream_loss(model, asked.stream, window, stride, run.device, tick)


def weight_file_bytes(folder: Path) -> int:
    """Bytes of the files that hold weights, with their headers."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def metrics_of(judged: Judged, base: Judged | None = None) -> dict[str, float]:
    """The keys of `QUALITY_METRICS`, as far as they were measured."""
    found: dict[str, float | None] = {
        "test/perplexity": judged.perplexity,
        "test/accuracy": judged.accuracy,
        **judged.latency.metrics(),
        **{THROUGHPUT.format(size=size): speed for size, speed in judged.throughput.items()},
        "artifact/bytes": judged.bytes_on_disk,
        "memory/peak_bytes": judged.peak_bytes,
    }
    if base is not None:
        found |= {
            "test/base_perplexity": base.perplexity,
            "test/base_accuracy": base.accuracy,
            "artifact/base_bytes": base.bytes_on_disk,
        }
    return {key: value for key, value in found.items() if value is not None}


def _answers(
    run: LabContext, params: CompressionParams, model: PreTrainedModel, asked: Exam
) -> list[str]:
    if not asked.questions:
        return []
    found = ask(model, asked.tokenizer, asked.questions, run.device, params)
    run.check_stop()
    return found


def _latency(
    run: LabContext, params: CompressionParams, model: PreTrainedModel, asked: Exam, tick: Tick
) -> Latency:
    prompts, _ = with_room(model, params, asked.timed, NEW_TOKENS)
    done = 0

    def check() -> None:
        nonlocal done
        run.check_stop()
        tick(0.4 + 0.5 * done / (WARMUP + GENERATIONS), N_("answering one by one"))
        done += 1

    with autocast(params.precision, run.device):
        return measure_latency(model, prompts, run.device, check)
