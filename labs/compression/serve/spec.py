"""The serve lab: what it is called, takes, does and leaves. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from labs.common.metrics import INFERENCE_METRICS
from labs.common.params import Precision, TrainingParams, shown
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS
from labs.contract import Accepts, Lab, LabError, Metric, Params, Source, Stage
from labs.gguf import expected_bytes, refuse_gguf, refuse_gguf_folder
from labs.models import ModelFacts

EngineName = Literal["transformers", "llama_cpp", "vllm"]
GgufType = Literal["f16", "q8_0", "q4_0", "q4_k_m"]
MOST_LEVELS, MOST_AT_ONCE = 8, 64
LEAST_CONTEXT = 32
# What vLLM's processes took beside weights and cache: on a CPU measured with 0.32 (3.1 GB resident
# in all, pages that they share counted in each); on a GPU assumed.
VLLM_BYTES = {"cpu": 2 << 30, "cuda": 2 << 30}
LEAST_VLLM_CACHE = 1 << 30


class ServeParams(Params):
    """How a model is served, how it is measured, and how long it stays open."""

    engine: Annotated[
        EngineName,
        Field(
            title="Engine",
            description="transformers takes every model; llama_cpp turns it into one GGUF file and is made for processors; vllm is made for GPUs and needs an environment of its own.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "transformers"
    gguf: Annotated[
        GgufType,
        Field(
            title="GGUF type",
            description="How llama_cpp stores the weights: 16 bits, or about 8.5, 4.5 and 4.8 bits each. Other engines pass it over.",
            json_schema_extra=shown(),
        ),
    ] = "q8_0"
    precision: Annotated[Precision, TrainingParams.own("precision")] = "fp32"
    slots: Annotated[
        int,
        Field(
            title="Answers at once",
            ge=1,
            le=MOST_AT_ONCE,
            description="Requests that the engine computes together. Further ones wait their turn.",
            json_schema_extra=shown("requests"),
        ),
    ] = 4
    context_length: Annotated[
        int | None,
        Field(
            title="Context",
            ge=LEAST_CONTEXT,
            le=524_288,
            description="Most tokens of a prompt and its answer together. Empty takes what the model reads.",
            json_schema_extra=shown("tokens"),
        ),
    ] = None
    max_new_tokens: Annotated[
        int,
        Field(
            title="Longest answer",
            ge=1,
            le=32_768,
            description="No request gets more tokens than this, whatever it asks for.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 256
    concurrency: Annotated[
        tuple[int, ...],
        Field(
            title="Concurrency levels",
            min_length=1,
            max_length=MOST_LEVELS,
            description="How many clients ask at the same time, one load test for each: 1, 2, 4.",
            json_schema_extra=shown("clients", basic=True),
        ),
    ] = (1, 2, 4)
    prompt_tokens: Annotated[
        int,
        Field(
            title="Prompt length",
            ge=1,
            le=32_768,
            description="Every prompt of the load test has so many tokens, cut from the rows of the dataset.",
            json_schema_extra=shown("tokens", basic=True),
        ),
    ] = 64
    output_tokens: Annotated[
        int,
        Field(
            title="Answer length",
            ge=2,
            le=32_768,
            description="Every answer of the load test has so many tokens; the end token does not end it.",
            json_schema_extra=shown("tokens", basic=True),
        ),
    ] = 32
    level_seconds: Annotated[
        float,
        Field(
            title="Time per level",
            gt=0,
            le=600,
            description="How long clients go on asking at each level. What they have asked by then is answered.",
            json_schema_extra=shown("s", basic=True),
        ),
    ] = 4.0
    wait_seconds: Annotated[
        float,
        Field(
            title="Open without a request",
            ge=0,
            le=3600,
            description="The endpoint closes when nobody has asked anything for so long since it opened.",
            json_schema_extra=shown("s", basic=True),
        ),
    ] = 30.0
    idle_minutes: Annotated[
        float,
        Field(
            title="Open after a request",
            ge=0,
            le=240,
            description="The endpoint closes so long after the last request.",
            json_schema_extra=shown("min", basic=True),
        ),
    ] = 10.0
    open_minutes: Annotated[
        float,
        Field(
            title="Open at most",
            gt=0,
            le=1440,
            description="The endpoint closes after so long in any case, so that the device is free again.",
            json_schema_extra=shown("min"),
        ),
    ] = 60.0

    @field_validator("concurrency", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, int):
            return (value,)
        if not isinstance(value, str):
            return value
        parts = value.replace(",", " ").split()
        if not parts or not all(part.isdecimal() for part in parts):
            raise ValueError("concurrency levels are whole numbers from 1 to 64, as in 1, 2, 4")
        return tuple(int(part) for part in parts)

    @field_validator("concurrency")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1 or max(value) > MOST_AT_ONCE:
            raise ValueError("concurrency levels are whole numbers from 1 to 64, as in 1, 2, 4")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _fits(self) -> "ServeParams":
        if self.context_length and self.prompt_tokens + self.output_tokens > self.context_length:
            raise ValueError("prompt and answer of the load test are longer than the context")
        return self

    def context(self, facts: ModelFacts) -> int:
        """Tokens of prompt and answer together that are served."""
        return min(self.context_length or facts.max_positions, facts.max_positions)

    def memory_beside(self, facts: ModelFacts, device: str) -> dict[str, int]:
        """The weights as the engine holds them, and keys and values of full contexts at once."""
        width = self.bytes_of_number
        weights = facts.bytes if facts.quantization else facts.parameters * width
        if self.engine == "llama_cpp":
            weights, width = expected_bytes(facts, self.gguf), 2
        cache = self.slots * cache_bytes(facts, self.context(facts), width)
        if self.engine != "vllm":
            return {"weights": weights, "cache": cache}
        library = VLLM_BYTES[device]
        return {"weights": weights, "cache": max(cache, LEAST_VLLM_CACHE), "library": library}

    def left_bytes(self, facts: ModelFacts) -> int:
        """What the run leaves on disk: the GGUF file, where there is one."""
        return expected_bytes(facts, self.gguf) if self.engine == "llama_cpp" else 0

    @property
    def bytes_of_number(self) -> int:
        """Of a weight that is not stored in fewer bits, and of a key or value."""
        return 4 if self.precision == "fp32" else 2

    @property
    def own_seconds(self) -> float:
        """Time that these parameters set and no model changes: of load test and open endpoint."""
        return len(self.concurrency) * self.level_seconds + self.wait_seconds


def cache_bytes(facts: ModelFacts, tokens: int, width: int) -> int:
    """Keys and values of one request: 2 · layers · key-value heads · head size · width · tokens."""
    return 2 * facts.layers * facts.kv_heads * facts.head_dim * width * tokens


def refuse(facts: ModelFacts, params: ServeParams) -> LabError | None:
    """Why this model cannot be served so, or None."""
    return _refuse_length(facts, params) or _refuse_engine(facts, params)


def _refuse_length(facts: ModelFacts, params: ServeParams) -> LabError | None:
    if params.context_length and params.context_length > facts.max_positions:
        return LabError(
            "A context of {length} tokens does not fit “{model}”, which reads at most {limit}.",
            parameter="context_length",
            length=params.context_length,
            model=facts.name,
            limit=facts.max_positions,
        )
    tested = params.prompt_tokens + params.output_tokens
    if tested > facts.max_positions:
        return LabError(
            "The load test's prompts and answers have {length} tokens together; “{model}” reads at most {limit}.",
            parameter="prompt_tokens",
            length=tested,
            model=facts.name,
            limit=facts.max_positions,
        )
    return None


def _refuse_engine(facts: ModelFacts, params: ServeParams) -> LabError | None:
    if params.engine == "llama_cpp":
        return refuse_gguf(facts, params.gguf)
    if params.engine == "vllm" and facts.quantization == "bitsandbytes":
        return LabError(
            "“{model}” is stored by bitsandbytes, which is served by the engine transformers only.",
            parameter="engine",
            model=facts.name,
        )
    return None


def refuse_together(
    folder: Path, params: ServeParams, resources: Mapping[str, Path]
) -> LabError | None:
    """Why llama.cpp has no equal for a model's files, above all for its tokenizer, or None."""
    return refuse_gguf_folder(folder, params.gguf) if params.engine == "llama_cpp" else None


def _stage(name: str, title: str, summary: str) -> Stage:
    return Stage(name, title, summary, f"labs.compression.serve.stages:{name}")


LAB = Lab(
    slug="serve",
    chapter="compression",
    title="Serve: a model as an endpoint",
    summary="Start a model as a service with the interface that OpenAI's clients speak, and measure how fast it answers one client and many.",
    params=ServeParams,
    stages=(
        _stage("export", "Export", "Check the model's files; for llama.cpp, write them as GGUF."),
        _stage("start", "Start", "Load the engine, open the endpoint and take a first answer."),
        _stage(
            "load_test",
            "Load test",
            "Let more and more clients ask at the same time, over HTTP, and measure each answer.",
        ),
        _stage(
            "report",
            "Report and serve",
            "Show what was measured, then keep the endpoint open until nobody needs it.",
        ),
    ),
    metrics=(
        Metric("serve/first_token_seconds", "Time to first token, median", "s", "lower"),
        Metric("serve/inter_token_seconds", "Time between two tokens, median", "s", "lower"),
        Metric("serve/tokens_per_second", "Tokens of all clients together", "tokens/s", "higher"),
        Metric("load/seconds", "Time to load", "s", "lower"),
        Metric("memory/peak_bytes", "Peak memory", "bytes", "lower"),
        Metric("artifact/bytes", "Size on disk", "bytes", "lower"),
        *(metric for metric in INFERENCE_METRICS if not metric.key.startswith("test/")),
    ),
    accepts=Accepts(
        formats=TUNING_FORMATS,
        parents=WHOLE_MODELS | {"quantized"},
        refuse=refuse,
        refuse_together=refuse_together,
    ),
    produces=("gguf",),
    headline="serve/tokens_per_second",
    default_model="base",
    default_dataset="desk",
    sources=(
        Source(
            "Kwon et al.",
            "Efficient Memory Management for Large Language Model Serving with PagedAttention",
            2023,
            "2309.06180",
        ),
        Source("Pope et al.", "Efficiently Scaling Transformer Inference", 2022, "2211.05102"),
        Source(
            "Shazeer",
            "Fast Transformer Decoding: One Write-Head is All You Need",
            2019,
            "1911.02150",
        ),
    ),
    presets={
        "balanced": {},
        "llama.cpp, 4 bits": {"engine": "llama_cpp", "gguf": "q4_k_m"},
        "stay open for ten minutes": {"wait_seconds": 600.0},
    },
)
