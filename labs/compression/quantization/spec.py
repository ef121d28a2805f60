"""The quantization lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from labs.common.params import shown
from labs.common.quantization import has_bitsandbytes
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS
from labs.compression.common.costs import Work, inside_layers
from labs.compression.common.metrics import QUALITY_METRICS
from labs.compression.common.params import CompressionParams
from labs.compression.common.refusals import refuse_base
from labs.compression.quantization.refusals import refuse_scheme
from labs.compression.quantization.scheme import FIXED_BITS, Method, Scheme
from labs.compression.quantization.sizes import expected_bytes
from labs.contract import Accepts, Lab, LabError, Metric, Source, Stage
from labs.gguf import expected_bytes as expected_gguf_bytes
from labs.gguf import refuse_gguf
from labs.models import ModelFacts

GgufType = Literal["none", "f16", "q8_0", "q4_0", "q4_k_m"]
CHANNEL = "channel"
# Methods by the names that people know them by.
METHOD_NAMES = {
    "rtn": "Round to nearest",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "smoothquant": "SmoothQuant",
    "int8": "LLM.int8",
    "nf4": "NF4",
}


class QuantizationParams(CompressionParams):
    """How weights become integers, and what decides which."""

    method: Annotated[
        Method,
        Field(
            title="Method",
            description="Round to nearest, GPTQ, AWQ, SmoothQuant (inputs too), LLM.int8 or NF4 (both by bitsandbytes).",
            json_schema_extra=shown(basic=True),
        ),
    ] = "gptq"
    bits: Annotated[
        Literal[2, 3, 4, 8],
        Field(
            title="Bits",
            description="Of each weight. SmoothQuant and LLM.int8 have 8, NF4 has 4.",
            json_schema_extra=shown("bits", basic=True),
        ),
    ] = 4
    group_size: Annotated[
        Literal[32, 64, 128, "channel"],
        Field(
            title="Group size",
            description="Weights of a row that share a scale; channel: the whole row. For round to nearest, GPTQ and AWQ.",
            json_schema_extra=shown("weights", basic=True),
        ),
    ] = 128
    symmetric: Annotated[
        bool,
        Field(
            title="Symmetric",
            description="A grid that lies evenly around zero. Without it each group has a zero point too.",
            json_schema_extra=shown(),
        ),
    ] = True
    activation_order: Annotated[
        bool,
        Field(
            title="Activation order",
            description="GPTQ only: columns with the largest inputs are rounded first.",
            json_schema_extra=shown(),
        ),
    ] = True
    damping: Annotated[
        float,
        Field(
            title="Damping",
            gt=0,
            le=1,
            description="GPTQ only: added to the diagonal of the Hessian, as a share of its mean.",
            json_schema_extra=shown("of the mean diagonal"),
        ),
    ] = 0.01
    smoothing: Annotated[
        float,
        Field(
            title="Smoothing",
            ge=0,
            le=1,
            description="SmoothQuant only: how much of the inputs' outliers moves into the weights (alpha).",
            json_schema_extra=shown(),
        ),
    ] = 0.5
    double_quantization: Annotated[
        bool,
        Field(
            title="Double quantization",
            description="NF4 only: quantize the scales too, about 0.37 bits less for each weight.",
            json_schema_extra=shown(),
        ),
    ] = False
    engine: Annotated[
        Literal["auto", "own", "gptqmodel"],
        Field(
            title="Engine",
            description="GPTQ only: the code of this lab, or GPTQModel where it has been set up. Auto takes GPTQModel on a GPU.",
            json_schema_extra=shown(),
        ),
    ] = "auto"
    gguf: Annotated[
        GgufType,
        Field(
            title="GGUF",
            description="Also write a file for llama.cpp. It rounds the quantized weights anew, on a grid of its own; f16 hardly does.",
            json_schema_extra=shown(),
        ),
    ] = "q4_0"

    @field_validator("bits", "group_size", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        """A number as a form sends it."""
        return (
            int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        )

    @model_validator(mode="after")
    def _method_fits(self) -> "QuantizationParams":
        if self.method in ("smoothquant", "int8") and self.bits != FIXED_BITS[self.method]:
            raise ValueError("SmoothQuant and LLM.int8 work with 8 bits: set bits to 8")
        if self.method == "nf4" and self.bits != FIXED_BITS["nf4"]:
            raise ValueError("NF4 has 4 bits: set bits to 4")
        if self.engine == "gptqmodel" and self.method != "gptq":
            raise ValueError("GPTQModel is for GPTQ here: leave engine at auto")
        if self.method in ("smoothquant", "int8", "nf4") and not self.symmetric:
            raise ValueError(
                "only round to nearest, GPTQ and AWQ have zero points: leave symmetric on"
            )
        return self

    @property
    def scheme(self) -> Scheme:
        """What the method computes with; what it does not use does not reach it."""
        grouped = self.method in ("rtn", "gptq", "awq") and self.group_size != CHANNEL
        return Scheme(
            method=self.method,
            bits=self.bits,
            group_size=int(self.group_size) if grouped else None,
            symmetric=self.symmetric,
            activation_order=self.activation_order,
            damping=self.damping,
            smoothing=self.smoothing,
            double_quantization=self.double_quantization and self.method == "nf4",
        )

    def stored_bytes(self, facts: ModelFacts) -> int:
        """Bytes of a number that is not quantized: as the base has it, in 16 bits at most the run's."""
        return 2 if self.precision != "fp32" or facts.dtype in ("float16", "bfloat16") else 4

    def memory_beside(self, facts: ModelFacts, device: str) -> dict[str, int]:
        """One layer's Hessians with inverse and copy, in float32, and the integers of all weights.

        bitsandbytes quantizes a model of its own while it is loaded: what it leaves whole comes
        beside them.
        """
        if not facts.matrices:
            return {}
        largest = max(matrix.inputs for matrix in facts.matrices.values())
        hessians = sum(m.inputs**2 for m in facts.matrices.values()) + 3 * largest**2
        integers = inside_layers(facts)
        if self.scheme.stored == "bitsandbytes":
            integers += (facts.parameters - integers) * self.stored_bytes(facts)
        return {"observed": 4 * hessians, "integers": integers}

    def work(self, facts: ModelFacts) -> Work:
        """Calibration, X·Xᵀ of every matrix, and a Cholesky factor and update of each."""
        tokens = self.calibration_samples * self.calibration_length
        gathered = sum(2 * m.count * tokens * m.inputs**2 for m in facts.matrices.values())
        solved = sum(
            m.count * (m.inputs**3 + m.outputs * m.inputs**2) for m in facts.matrices.values()
        )
        return super().work(facts) + Work(float(gathered + solved))

    def left_bytes(self, facts: ModelFacts) -> int:
        """The checkpoint, and the GGUF file with the plain weights that it is written from."""
        left = expected_bytes(facts, self.scheme, self.stored_bytes(facts))
        if self.gguf != "none" and refuse_gguf(facts, self.gguf) is None:
            left += expected_gguf_bytes(facts, self.gguf) + facts.parameters * self.stored_bytes(
                facts
            )
        return left


def refuse(facts: ModelFacts, params: QuantizationParams) -> LabError | None:
    """Why this model cannot be quantized like that, or None; each says what would work."""
    return (
        refuse_base(facts, params, "Quantization")
        or refuse_scheme(facts, params.scheme)
        or _refuse_bitsandbytes(facts, params)
        or _refuse_gguf(facts, params)
    )


def _refuse_bitsandbytes(facts: ModelFacts, params: QuantizationParams) -> LabError | None:
    if params.scheme.stored != "bitsandbytes" or has_bitsandbytes():
        return None
    return LabError(
        "{method} needs the package bitsandbytes, which this machine lacks. Choose GPTQ, AWQ or round to nearest.",
        parameter="method",
        method=METHOD_NAMES[params.method],
    )


def _refuse_gguf(facts: ModelFacts, params: QuantizationParams) -> LabError | None:
    refused = None if params.gguf == "none" else refuse_gguf(facts, params.gguf)
    if refused is None:
        return None
    return LabError(
        "{reason} Set GGUF to none: the quantized checkpoint is made all the same.",
        parameter="gguf",
        reason=str(refused),
    )


def _stages() -> tuple[Stage, ...]:
    told = (
        ("setup", "Setup", "Count what will be quantized, and what the file will take."),
        ("quantize", "Quantize", "Layer by layer: observe the inputs, round the weights, measure what that costs."),
        ("inference", "Inference", "Perplexity, exact answers, latency and throughput, before and after."),
        ("deploy", "Deploy", "Prove that the checkpoint loads in plain transformers and says the same; write it for llama.cpp."),
    )  # fmt: skip
    package = "labs.compression.quantization"
    return tuple(
        Stage(name, title, summary, f"{package}.stages:{name}") for name, title, summary in told
    )


LAB = Lab(
    slug="quantization",
    chapter="compression",
    title="Quantization: weights in few bits",
    summary="Store each weight as a small integer with a shared scale, chosen so that the layers still say nearly the same.",
    params=QuantizationParams,
    stages=_stages(),
    metrics=(
        Metric("quantize/output_error", "Error of the outputs, by layer", "fraction", "lower"),
        Metric("quantize/rounding_error", "Error by plain rounding, by layer", "fraction", "lower"),
        Metric("quantize/weight_error", "Error of the weights, by layer", "fraction", "lower"),
        Metric(
            "quantize/bits_per_weight", "Bits per quantized weight, with scales", "bits", "lower"
        ),
        Metric("time/layer_seconds", "Time per layer", "s", "lower"),
        *QUALITY_METRICS,
        Metric("load/max_difference", "Largest change of a logit by saving", "", "lower"),
        Metric("gguf/bytes", "Size of the GGUF file", "bytes", "lower"),
    ),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("quantized", "gguf"),
    headline="test/perplexity",
    default_model="base",
    default_dataset="desk",
    sources=(
        Source(
            "Frantar et al.",
            "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
            2022,
            "2210.17323",
        ),
        Source(
            "Lin et al.",
            "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration",
            2023,
            "2306.00978",
        ),
        Source(
            "Xiao et al.",
            "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
            2022,
            "2211.10438",
        ),
        Source(
            "Dettmers et al.",
            "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
            2022,
            "2208.07339",
        ),
        Source(
            "Dettmers et al.", "QLoRA: Efficient Finetuning of Quantized LLMs", 2023, "2305.14314"
        ),
        Source(
            "Jacob et al.",
            "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
            2017,
            "1712.05877",
        ),
    ),
    presets={
        "4-bit GPTQ": {},
        "8-bit round to nearest": {"method": "rtn", "bits": 8, "gguf": "q8_0"},
        "3-bit round to nearest": {"method": "rtn", "bits": 3},
        "3-bit GPTQ": {"bits": 3},
        "3-bit AWQ": {"method": "awq", "bits": 3},
        "SmoothQuant": {"method": "smoothquant", "bits": 8, "gguf": "q8_0"},
        "LLM.int8": {"method": "int8", "bits": 8, "gguf": "q8_0"},
        "NF4": {"method": "nf4"},
        "2 bits: too few": {"method": "rtn", "bits": 2},
    },
)
