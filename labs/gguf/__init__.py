"""GGUF, the file format of llama.cpp: a writer of our own and llama.cpp itself. Imports no torch.

The converter that comes with llama.cpp knows tokenizers by a hash of what they make of one text and
refuses every other; a model that was trained here has a tokenizer of its own. This one compares what
the tokenizer does (`vocabulary.py`) and refuses what llama.cpp has no equal for.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from labs.gguf.architectures import refuse_gguf
from labs.gguf.kinds import GGUF_TYPES, GgufFacts
from labs.gguf.refusals import refuse_gguf_folder
from labs.gguf.sizes import expected_bytes

__all__ = [
    "GGUF_TYPES",
    "GgufFacts",
    "expected_bytes",
    "refuse_gguf",
    "refuse_gguf_folder",
    "write_gguf",
]


def write_gguf(
    folder: Path,
    target: Path,
    kind: str,
    name: str,
    described: Mapping[str, str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> GgufFacts:
    """Write a model folder as one GGUF file; tensors pass through memory one piece at a time.

    Args:
        folder: A Hugging Face model folder with safetensors weights and a `tokenizer.json`.
        target: The file to write; it appears whole or not at all.
        kind: One of `GGUF_TYPES`, or "f32".
        name: What the model is called.
        described: What else the file says: "description", "license", "source" (an address),
            "base_model", "version"; any other key is stored as `bunsen.<key>`.
        check: Called between pieces of a few seconds; may raise to stop.

    Raises:
        LabError: If llama.cpp has no equal for the model or its tokenizer.
    """
    from labs.gguf.writer import write

    return write(folder, target, kind, name, described or {}, check)
