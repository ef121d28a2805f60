"""The weights of a model folder as rows of float32, a piece at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from labs.gguf.architectures import BUFFER, Architecture, Place, place
from labs.model_files import Tensor, read_tensors, weight_files
from labs.models import ModelFacts

Rows = NDArray[np.float32]
# Numbers of a piece: 64 MiB of float32.
PIECE = 1 << 24


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor of the folder and its place in GGUF; `shape` is as GGUF keeps it, outputs first."""

    tensor: str
    file: Path
    place: Place
    shape: tuple[int, ...]
    transposed: bool
    # Heads whose rows change their order, or 0.
    permuted: int

    @property
    def is_matrix(self) -> bool:
        """Whether it may be stored in few bits; vectors and positions stay float32."""
        return len(self.shape) > 1 and self.place.role != "position_embd"

    def pieces(self) -> Iterator[Rows]:
        """Rows in order, (rows, numbers); a vector is one row."""
        with safe_open(self.file, "pt") as weights:
            if len(self.shape) == 1 or self.transposed or self.permuted:
                yield self._whole(weights.get_tensor(self.tensor))
                return
            stored = weights.get_slice(self.tensor)
            step = max(1, PIECE // self.shape[1])
            for start in range(0, self.shape[0], step):
                yield _rows(stored[start : start + step])

    def _whole(self, tensor: torch.Tensor) -> Rows:
        if self.transposed:
            tensor = tensor.T
        if self.permuted:
            tensor = tensor[rotary_order(tensor.shape[0], self.permuted)]
        return _rows(tensor)


def rotary_order(rows: int, heads: int) -> torch.Tensor:
    """Rows of a query or key matrix in llama.cpp's order: (heads, 2, half) becomes (heads, half, 2).

    transformers turns number i of a head with number i + half; llama.cpp with its neighbour.
    """
    return torch.arange(rows).reshape(heads, 2, -1).transpose(1, 2).reshape(-1)


def _rows(tensor: torch.Tensor) -> Rows:
    values: Rows = tensor.float().contiguous().numpy()
    return values.reshape(-1, values.shape[-1])


def sources(folder: Path, facts: ModelFacts, architecture: Architecture) -> list[Source]:
    """All tensors that are written; an output that is tied to the embedding is left out."""
    headers = read_tensors(folder)
    found = []
    for file in weight_files(folder):
        with safe_open(file, "pt") as weights:
            names = [name for name in weights.keys() if not BUFFER.search(name)]  # noqa: SIM118
        found += [_source(name, file, headers[name], facts, architecture) for name in names]
    kept = [each for each in found if not (facts.tied and each.place.role == "output")]
    return sorted(kept, key=lambda each: (each.place.layer, each.place.name))


def _source(
    name: str, file: Path, header: Tensor, facts: ModelFacts, architecture: Architecture
) -> Source:
    where = place(name, architecture)
    transposed = where.role in architecture.transposed and not where.is_bias
    heads = facts.heads if where.role == "attn_q" else facts.kv_heads
    return Source(
        tensor=name,
        file=file,
        place=where,
        shape=header.shape[::-1] if transposed and len(header.shape) == 2 else header.shape,
        transposed=transposed and len(header.shape) == 2,
        permuted=heads if where.role in architecture.permuted else 0,
    )
