"""What a pruning takes beside the judging, from config.json alone. Imports no torch."""

from typing import TYPE_CHECKING

from labs.compression.common.costs import Work, calibration_work
from labs.footprint import Device, training_parts
from labs.models import ModelFacts
from labs.peft.lora.spec import LAB

if TYPE_CHECKING:
    from labs.compression.pruning.spec import PruningParams

# Tokens that the error of a matrix is measured on; all of them would fill the memory.
SAMPLED_TOKENS = 1024
# Enough to compare many models with each other; the table of quality has all of the text.
MOST_TOKENS = 1536
# Above this size the analysis carries out only the run's own method again.
LARGEST_COMPARED = 500_000_000
# Three sparsities by each of three methods, and two patterns.
COMPARED, ALONE, PATTERNS = 9, 3, 2
RECOVERY_ROWS, RECOVERY_TOKENS = 16, 96


def observed_bytes(facts: ModelFacts, params: "PruningParams") -> int:
    """One layer's sampled inputs and, for SparseGPT, its Hessians with inverse and copies."""
    if not facts.matrices:
        return 0
    # The analysis carries out SparseGPT whatever the run's own method.
    hessians = params.method == "sparsegpt" or facts.parameters <= LARGEST_COMPARED
    inputs = [matrix.inputs for matrix in facts.matrices.values()]
    numbers = sum(inputs) * min(
        SAMPLED_TOKENS, params.calibration_samples * params.calibration_length
    )
    if hessians:
        numbers += sum(size**2 for size in inputs) + 3 * max(inputs) ** 2
    return 4 * numbers


def recovery_bytes(facts: ModelFacts, params: "PruningParams", device: Device) -> int:
    """What training LoRA on the pruned model holds beside its weights."""
    lora = params.recovery
    parts = training_parts(LAB, facts, lora, device, None)
    return sum(parts.values()) - sum(parts.get(n, 0) for n in ("weights", "library", "merging"))


def pruning_work(facts: ModelFacts, params: "PruningParams") -> Work:
    """The pruning itself, those of the analysis with their perplexities, and the recovery."""
    compared = COMPARED if facts.parameters <= LARGEST_COMPARED else ALONE
    prunings = compared + PATTERNS
    measured = 2.0 * facts.parameters * min(MOST_TOKENS, params.evaluation_tokens)
    windows = MOST_TOKENS / params.evaluation_stride
    models = prunings + facts.layers + 6
    analysis = calibration_work(facts, params) * (prunings + 3) + Work(measured, windows) * models
    tokens = params.recovery_steps * RECOVERY_ROWS * RECOVERY_TOKENS
    recovery = Work(4.0 * facts.parameters * tokens, 3.0 * params.recovery_steps)
    return calibration_work(facts, params) + solved(facts, params, prunings) + analysis + recovery


def solved(facts: ModelFacts, params: "PruningParams", prunings: int) -> Work:
    """X·Xᵀ, factor and elimination of every matrix, each time that SparseGPT is carried out."""
    own = params.method == "sparsegpt"
    times = 1 + prunings if own and facts.parameters > LARGEST_COMPARED else 3 + own
    tokens = params.calibration_samples * params.calibration_length
    once = sum(
        m.count * (2 * tokens * m.inputs**2 + m.inputs**3 + m.outputs * m.inputs**2)
        for m in facts.matrices.values()
    )
    return Work(float(once * times))
