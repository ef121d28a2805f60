"""What can be said against writing a folder as GGUF before any weight is read. Imports no torch."""

from pathlib import Path

from labs.contract import Json, LabError
from labs.gguf.architectures import BUFFER, Architecture, architecture_of, place, refuse_gguf
from labs.gguf.positions import read_positions
from labs.gguf.vocabulary import read_vocabulary
from labs.model_files import read_tensors
from labs.models import ModelFacts, read_config, read_facts


def refuse_gguf_folder(folder: Path, kind: str) -> LabError | None:
    """Why the model, its positions or its tokenizer have no equal in llama.cpp, or None."""
    try:
        facts, config = read_facts(folder), read_config(folder)
        refused = refuse_gguf(facts, kind)
        if refused is None:
            check(folder, facts, config)
    except LabError as error:
        return error
    return refused


def check(folder: Path, facts: ModelFacts, config: Json) -> None:
    """Raises `LabError` with the first thing that llama.cpp would compute otherwise."""
    architecture = architecture_of(facts.model_type)
    require_activation(config, architecture)
    for name in read_tensors(folder):
        if not BUFFER.search(name):
            place(name, architecture)
    read_positions(config, facts.head_dim, facts.max_positions)
    read_vocabulary(folder, facts.vocab_size)


def require_activation(config: Json, architecture: Architecture) -> None:
    """llama.cpp has one activation for each family."""
    stated = config.get("hidden_act") or config.get("activation_function")
    if stated and stated not in (architecture.activation, "swish", "gelu_pytorch_tanh"):
        raise LabError(
            "llama.cpp computes models of this family with the activation {known}; this one has {stated}.",
            known=architecture.activation,
            stated=stated,
        )
