"""The LoRA lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from labs.common.metrics import INFERENCE_METRICS, MERGE_METRIC, TRAINING_METRICS
from labs.common.params import TrainingParams, shown, split_names
from labs.common.quantization import has_bitsandbytes
from labs.common.refusals import refuse_length
from labs.common.tuning_lab import TUNING_FORMATS, WHOLE_MODELS, tuning_stages
from labs.contract import Accepts, Lab, LabError, Source
from labs.models import Matrix, ModelFacts

Variant = Literal["lora", "rslora", "dora"]
BaseQuantization = Literal["none", "nf4", "int8"]
ALL_LINEAR = "all-linear"
BITS = {"nf4": 4.0, "int8": 8.0}
# One scale of 32 bits for every 64 weights; in 8 bits, with their own scales, when doubled.
NF4_BLOCK = 64
NF4_SCALE_BITS = 32 / NF4_BLOCK
NF4_DOUBLE_SCALE_BITS = 8 / NF4_BLOCK + 32 / (NF4_BLOCK * 256)
# DoRA computes the length of W + s·BA at each step and keeps about so many copies of a matrix.
DORA_MATRICES = 1.5


class LoraParams(TrainingParams):
    """Low-rank updates beside frozen matrices."""

    rank: Annotated[
        int,
        Field(
            title="Rank r",
            ge=1,
            le=256,
            description="Width of the update BA. More can express more and costs more memory.",
            json_schema_extra=shown(basic=True),
        ),
    ] = 8
    alpha: Annotated[
        float,
        Field(
            title="Alpha",
            gt=0,
            le=1024,
            description="The update is scaled by alpha / r (rsLoRA: alpha / √r).",
            json_schema_extra=shown(basic=True),
        ),
    ] = 16.0
    dropout: Annotated[
        float,
        Field(
            title="Dropout",
            ge=0,
            lt=1,
            description="Share of the inputs of A that is set to zero in training.",
            json_schema_extra=shown("of the inputs"),
        ),
    ] = 0.0
    target_modules: Annotated[
        tuple[str, ...],
        Field(
            title="Target modules",
            min_length=1,
            max_length=16,
            description="Names of the matrices that get an update, or all-linear for each of them.",
            json_schema_extra=shown(),
        ),
    ] = (ALL_LINEAR,)
    variant: Annotated[
        Variant,
        Field(
            title="Variant",
            description="LoRA, rsLoRA (a scale that stands high ranks) or DoRA (length and direction apart).",
            json_schema_extra=shown(basic=True),
        ),
    ] = "lora"
    base_quantization: Annotated[
        BaseQuantization,
        Field(
            title="Base quantization",
            description="Keep the frozen base in 4-bit NF4 (QLoRA) or 8-bit integers to save memory.",
            json_schema_extra=shown(),
        ),
    ] = "none"
    double_quantization: Annotated[
        bool,
        Field(
            title="Double quantization",
            description="Quantize the scales of NF4 too: about 0.37 bits less for each weight.",
            json_schema_extra=shown(),
        ),
    ] = False

    @field_validator("target_modules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_names(value)

    @field_validator("target_modules")
    @classmethod
    def _all_or_named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if ALL_LINEAR in value and len(value) > 1:
            raise ValueError("all-linear already stands for every matrix: name it alone")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _double_needs_nf4(self) -> "LoraParams":
        if self.double_quantization and self.base_quantization != "nf4":
            raise ValueError("double quantization needs base quantization nf4")
        return self

    def targets(self, facts: ModelFacts) -> dict[str, Matrix]:
        """The matrices that get an update, by name."""
        if self.target_modules == (ALL_LINEAR,):
            return dict(facts.matrices)
        return {
            name: facts.matrices[name] for name in self.target_modules if name in facts.matrices
        }

    def trainable_parameters(self, facts: ModelFacts) -> int:
        """r · (inputs + outputs) for each matrix; DoRA adds one length for each output row."""
        lengths = 1 if self.variant == "dora" else 0
        return sum(
            matrix.count * (self.rank * (matrix.inputs + matrix.outputs) + lengths * matrix.outputs)
            for matrix in self.targets(facts).values()
        )

    def kept_beside(self, facts: ModelFacts) -> tuple[float, float]:
        """A keeps r numbers; dropout its input and mask; DoRA both outputs, and its matrices."""
        found = self.targets(facts).values()
        token = sum(m.count * self.rank for m in found)
        if self.dropout:
            token += sum(m.count * 2 * m.inputs for m in found)
        if self.variant != "dora":
            return token, 0.0
        token += sum(m.count * 2 * m.outputs for m in found)
        return token, DORA_MATRICES * sum(m.count * m.inputs * m.outputs for m in found)

    def bits_per_weight(self, facts: ModelFacts) -> float:
        """Average over all weights: embeddings and norms are never quantized."""
        full = super().bits_per_weight(facts)
        if self.base_quantization == "none":
            return full
        bits = BITS[self.base_quantization]
        if self.base_quantization == "nf4":
            bits += NF4_DOUBLE_SCALE_BITS if self.double_quantization else NF4_SCALE_BITS
        inside = sum(m.count * m.inputs * m.outputs for m in facts.matrices.values())
        share = inside / max(1, facts.parameters)
        return bits * share + full * (1 - share)


def refuse(facts: ModelFacts, params: LoraParams) -> LabError | None:
    """Why this model cannot serve these parameters, or None."""
    if facts.quantization:
        return LabError(
            "“{model}” is stored quantized ({method}). LoRA starts from full weights; choose NF4 or int8 as base quantization to load them small.",
            model=facts.name,
            method=facts.quantization,
        )
    return (
        refuse_length(facts, params)
        or _refuse_targets(facts, params)
        or _refuse_quantization(facts, params)
    )


def _refuse_targets(facts: ModelFacts, params: LoraParams) -> LabError | None:
    unknown = set(params.target_modules) - set(facts.matrices) - {ALL_LINEAR}
    if unknown:
        return LabError(
            "“{model}” has no module {names}. It has: {known}.",
            model=facts.name,
            parameter="target_modules",
            names=", ".join(sorted(unknown)),
            known=", ".join(sorted(facts.matrices)),
        )
    for name, matrix in params.targets(facts).items():
        size = min(matrix.inputs, matrix.outputs)
        if params.rank > size:
            return LabError(
                "Rank {rank} does not fit {module}, a matrix of {outputs} × {inputs}: at most {size} makes sense.",
                parameter="rank",
                rank=params.rank,
                module=name,
                outputs=matrix.outputs,
                inputs=matrix.inputs,
                size=size,
            )
    return None


def _refuse_quantization(facts: ModelFacts, params: LoraParams) -> LabError | None:
    if params.base_quantization == "none":
        return None
    if params.base_quantization == "nf4":
        for name, matrix in facts.matrices.items():
            if matrix.inputs % NF4_BLOCK:
                return LabError(
                    "NF4 packs blocks of {block} weights, but {module} has rows of {inputs}. Choose int8 or none.",
                    parameter="base_quantization",
                    block=NF4_BLOCK,
                    module=name,
                    inputs=matrix.inputs,
                )
    if has_bitsandbytes():
        return None
    return LabError(
        "{method} needs the package bitsandbytes, which this machine lacks. Choose base quantization “none”.",
        parameter="base_quantization",
        method=params.base_quantization,
    )


LAB = Lab(
    slug="lora",
    chapter="training",
    title="LoRA: low-rank adaptation",
    summary="Freeze the model and learn a small update of rank r beside each matrix; add it to the weights when done.",
    params=LoraParams,
    stages=tuning_stages(
        "labs.peft.lora",
        "Read the data, place the low-rank matrices and count what will be trained.",
        "Measure the untouched model, then train the update and keep its best state.",
        "Add the update to the weights, prove that nothing changed, save both forms.",
    ),
    metrics=(
        *TRAINING_METRICS,
        *INFERENCE_METRICS,
        MERGE_METRIC,
    ),
    accepts=Accepts(formats=TUNING_FORMATS, parents=WHOLE_MODELS, refuse=refuse),
    produces=("adapter", "merged"),
    headline="eval/accuracy",
    default_model="base",
    default_dataset="tickets",
    sources=(
        Source(
            "Hu et al.", "LoRA: Low-Rank Adaptation of Large Language Models", 2021, "2106.09685"
        ),
        Source(
            "Dettmers et al.", "QLoRA: Efficient Finetuning of Quantized LLMs", 2023, "2305.14314"
        ),
        Source(
            "Kalajdzievski",
            "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
            2023,
            "2312.03732",
        ),
        Source("Liu et al.", "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024, "2402.09353"),
    ),
    presets={
        "balanced": {},
        "too high learning rate": {"learning_rate": 0.3, "gradient_clipping": 1000.0},
        "rank 1": {"rank": 1, "alpha": 2.0},
    },
)
