"""How large a GGUF file will be, from what is known of a model. Imports no torch."""

from collections.abc import Iterator

from labs.gguf.architectures import Architecture, architecture_of
from labs.gguf.kinds import row_bytes, stored_as
from labs.models import ModelFacts


def expected_bytes(facts: ModelFacts, kind: str) -> int:
    """Bytes of all tensors; the file has its header (tokens, merges, names) beside them.

    Each matrix takes `rows · row_bytes` of the storage that `stored_as` gives it; vectors, and the
    positions of GPT-2, stay float32.

    Raises:
        LabError: If the model's family is not written.
    """
    architecture = architecture_of(facts.model_type)
    total = counted = 0
    for role, layer, outputs, inputs in _matrices(facts, architecture):
        total += outputs * row_bytes(stored_as(kind, role, layer, facts.layers, inputs), inputs)
        counted += outputs * inputs
    return total + 4 * (facts.parameters - counted)


def _matrices(facts: ModelFacts, architecture: Architecture) -> Iterator[tuple[str, int, int, int]]:
    """Role, layer, outputs and inputs of each matrix that is not kept as float32."""
    embedding = "output" if facts.tied else "token_embd"
    yield embedding, 0, facts.vocab_size, facts.hidden_size
    if not facts.tied:
        yield "output", 0, facts.vocab_size, facts.hidden_size
    for name, matrix in facts.matrices.items():
        role = _role(name, architecture)
        for layer in range(matrix.count if role else 0):
            yield role, layer, matrix.outputs, matrix.inputs


def _role(name: str, architecture: Architecture) -> str:
    """`q_proj` and `attn.c_proj` are how facts call matrices, by the end of their path."""
    for part, role in architecture.parts.items():
        if part == name or part.endswith(f".{name}"):
            return role
    return ""
