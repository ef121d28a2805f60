"""The pruning lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal, cast

from pydantic import Field, model_validator

from labs.common.metrics import TRAINING_METRICS
from labs.common.params import shown
from labs.compression.common.costs import Work
from labs.compression.common.metrics import QUALITY_METRICS
from labs.compression.common.params import CompressionParams
from labs.compression.pruning.costs import observed_bytes, pruning_work, recovery_bytes
from labs.compression.pruning.refusals import refuse
from labs.contract import WHOLE_MODELS, Accepts, Lab, Metric, Source, Stage
from labs.footprint import Device
from labs.formats import SUPERVISED
from labs.models import ModelFacts
from labs.peft.lora.spec import LoraParams

Method = Literal["magnitude", "wanda", "sparsegpt"]
Pattern = Literal["unstructured", "2:4", "4:8"]
# m of n:m; half of each group becomes zero.
GROUPS = {"unstructured": 0, "2:4": 4, "4:8": 8}
HALF = 0.5
# Of the recovery: each also saves a checkpoint.
EVALUATIONS = 4


class PruningParams(CompressionParams):
    """Which weights become zero, and what is done about the damage."""

    # The analysis prunes a dozen fresh copies: half the blocks keep it within a minute on two cores.
    calibration_samples: Annotated[int, CompressionParams.model_fields["calibration_samples"]] = 16
    method: Annotated[
        Method,
        Field(
            title="Method",
            description="Magnitude looks at weights only, Wanda at weights and inputs; SparseGPT also changes the weights that stay.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "wanda"
    pattern: Annotated[
        Pattern,
        Field(
            title="Pattern",
            description="Anywhere, or exactly half of every 4 or 8 inputs in a row, which is what GPUs can make use of.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "unstructured"
    sparsity: Annotated[
        float,
        Field(
            title="Sparsity",
            ge=0,
            le=0.9,
            description="Share of the weights inside the layers that become zero. Patterns 2:4 and 4:8 have 0.5.",
            json_schema_extra=shown("of the weights", basic=True),
        ),
    ] = 0.5
    magnitude_within: Annotated[
        Literal["row", "matrix"],
        Field(
            title="Magnitudes compared within",
            description="For the method magnitude: one threshold for a whole matrix, or each output row loses equally many.",
            json_schema_extra=shown(),
        ),
    ] = "matrix"
    damping: Annotated[
        float,
        Field(
            title="Damping",
            ge=0,
            le=1,
            description="For SparseGPT: added to the diagonal of the Hessian, as a share of its mean, so that it can be inverted.",
            json_schema_extra=shown("of the mean diagonal"),
        ),
    ] = 0.01
    recovery_steps: Annotated[
        int,
        Field(
            title="Recovery steps",
            ge=0,
            le=10_000,
            description="Steps of LoRA after pruning, on the dataset and the running text; 0 for none. The adapter is kept beside the pruned model: merged, it would fill the zeros.",
            json_schema_extra=shown("optimizer steps", basic=True),
        ),
    ] = 0
    recovery_rank: Annotated[
        int,
        Field(
            title="Rank of the recovery",
            ge=1,
            le=256,
            description="Width of the LoRA update that is learned after pruning.",
            json_schema_extra=shown(),
        ),
    ] = 8
    recovery_learning_rate: Annotated[
        float,
        Field(
            title="Learning rate of the recovery",
            gt=0,
            le=1,
            description="Size of an update when LoRA learns after pruning.",
            json_schema_extra=shown(),
        ),
    ] = 5e-3

    @model_validator(mode="after")
    def _patterns_take_half(self) -> "PruningParams":
        if self.pattern != "unstructured" and self.sparsity != HALF:
            raise ValueError(
                f"the pattern {self.pattern} makes exactly half of the weights zero: "
                "set the sparsity to 0.5, or choose the pattern unstructured"
            )
        return self

    @property
    def group(self) -> int:
        """Inputs that are compared with each other; 0 where there is no pattern."""
        return GROUPS[self.pattern]

    @property
    def recovery(self) -> LoraParams:
        """LoRA as its own lab carries it out, after pruning."""
        return LoraParams(
            steps=max(1, self.recovery_steps),
            rank=self.recovery_rank,
            alpha=2.0 * self.recovery_rank,
            learning_rate=self.recovery_learning_rate,
            evaluation_interval=max(1, self.recovery_steps // EVALUATIONS),
            max_length=self.max_length,
            precision=self.precision,
        )

    @property
    def models_judged(self) -> int:
        """The untouched one, the pruned one, and with its adapter."""
        return 3 if self.recovery_steps else 2

    def memory_beside(self, facts: ModelFacts, device: str) -> dict[str, int]:
        """What is gathered of the inputs, and later what the recovery holds beyond that."""
        observed = observed_bytes(facts, self)
        if not self.recovery_steps:
            return {"observed": observed}
        return {
            "observed": observed,
            "activations": max(0, recovery_bytes(facts, self, cast(Device, device)) - observed),
        }

    def work(self, facts: ModelFacts) -> Work:
        """Pruning, the analysis and the recovery."""
        return pruning_work(facts, self)


LAB = Lab(
    slug="pruning",
    chapter="compression",
    title="Pruning: zeros in place of weights",
    summary="Set the weights that matter least to zero, layer by layer, and measure what that costs and what it does not buy.",
    params=PruningParams,
    stages=(
        Stage(
            "setup",
            "Setup",
            "Read the data, cut the running text into blocks, and count what will be pruned.",
            "labs.compression.pruning.stages:setup",
        ),
        Stage(
            "prune",
            "Prune",
            "Zero the weights of each layer with inputs from the pruned layers before it; recover with LoRA if asked.",
            "labs.compression.pruning.stages:prune",
        ),
        Stage(
            "inference",
            "Inference",
            "The same text and questions through the model before and after, with latency and throughput.",
            "labs.compression.pruning.stages:inference",
        ),
        Stage(
            "analyze",
            "Analyze",
            "Other sparsities, each layer alone, quantized on top, and the time and space that zeros take.",
            "labs.compression.pruning.analysis:analyze",
        ),
    ),
    metrics=(
        Metric("prune/output_error", "Error of a layer's outputs", "fraction", "lower"),
        Metric("prune/sparsity", "Weights that are zero", "fraction"),
        Metric("prune/layer_seconds", "Time per layer", "s", "lower"),
        *QUALITY_METRICS,
        Metric("recovery/perplexity", "Perplexity after recovery", "", "lower"),
        Metric("recovery/accuracy", "Exact answers after recovery", "fraction", "higher"),
        # Of the recovery, where there is one.
        *(metric for metric in TRAINING_METRICS if metric not in QUALITY_METRICS),
    ),
    accepts=Accepts(formats=SUPERVISED | {"text"}, parents=WHOLE_MODELS, refuse=refuse),
    produces=("model",),
    headline="test/perplexity",
    default_model="base",
    default_dataset="desk",
    sources=(
        Source(
            "Han et al.",
            "Learning both Weights and Connections for Efficient Neural Networks",
            2015,
            "1506.02626",
        ),
        Source(
            "Sun et al.",
            "A Simple and Effective Pruning Approach for Large Language Models",
            2023,
            "2306.11695",
        ),
        Source(
            "Frantar & Alistarh",
            "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
            2023,
            "2301.00774",
        ),
        Source("Mishra et al.", "Accelerating Sparse Deep Neural Networks", 2021, "2104.08378"),
    ),
    presets={
        "20 %": {"sparsity": 0.2},
        "50 %": {},
        "70 %": {"sparsity": 0.7},
        "2:4": {"pattern": "2:4"},
        "4:8": {"pattern": "4:8"},
        "magnitude 50 %": {"method": "magnitude"},
        "SparseGPT 70 %": {"method": "sparsegpt", "sparsity": 0.7},
        "70 % with recovery": {"sparsity": 0.7, "recovery_steps": 60},
    },
)
