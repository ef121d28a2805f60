"""The files of a model folder: which there are, and what safetensors headers say. No torch.

A folder may come from anybody. Nothing in it is executed, no weight is read, and what a file
makes us hold in memory has a limit, whatever it claims.
"""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.contract import Json, LabError

# The largest of real models: an index of 9 MB, a tokenizer_config of 4 MB, headers of 4 MB.
# Python needs up to twenty times as much for what stands in a text.
LARGEST_JSON = 16 << 20
LARGEST_HEADER = 16 << 20
MOST_TENSORS = 300_000
# No tensor of a model is longer in one direction, or has more directions.
LONGEST, MOST_DIMENSIONS = 1 << 40, 8
NAME = re.compile(r"[!-~]{1,250}")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPE_BYTES = {
    "C64": 8,
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
}


class ModelRefused(LabError):
    """The folder holds no model that a lab can load safely."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a header says of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def bytes(self) -> int:
        return self.size * DTYPE_BYTES[self.dtype]


def read_json(path: Path) -> Json:
    """A JSON object; raises `ModelRefused` for anything else, and for one that is too large."""
    if path.stat().st_size > LARGEST_JSON:
        raise damaged(path, "it is larger than 16 MiB")
    return _parse_json(path, path.read_bytes())


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the weight files; raises `ModelRefused` where one is not whole."""
    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        found.update(_header(path))
        if len(found) > MOST_TENSORS:
            raise damaged(path, "it lists too many tensors")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model."""
    index = folder / INDEX
    if index.is_file():
        return _shards(folder, index)
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if any(found for pattern in PICKLES for found in folder.glob(pattern)):
        raise only_pickles(folder.name)
    raise ModelRefused("“{name}” has no model.safetensors.", name=folder.name)


def only_pickles(name: str) -> ModelRefused:
    """What is told of a model whose weights could run code."""
    return ModelRefused(
        "“{name}” has pickled weights only, which can run code when they are loaded. Convert them to safetensors first.",
        name=name,
    )


def damaged(path: Path, reason: str) -> ModelRefused:
    """A file that cannot be read as what its name says."""
    return ModelRefused(
        "“{name}” is damaged: {file}: {reason}.",
        name=path.parent.name,
        file=path.name,
        reason=reason,
    )


def shard_names(index: Path) -> list[str]:
    """The files that an index names; raises `ModelRefused` for one that is not beside it."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise damaged(index, "it lists no weights")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if not _is_plain(name):
            raise _lacks(index.parent, name)
    return names


def _shards(folder: Path, index: Path) -> list[Path]:
    names = shard_names(index)
    for name in names:
        if not (folder / name).is_file():
            raise _lacks(folder, name)
    return [folder / name for name in names]


def _is_plain(name: str) -> bool:
    return NAME.fullmatch(name) is not None and Path(name).name == name


def _lacks(folder: Path, name: str) -> ModelRefused:
    return ModelRefused(
        "“{model}” lacks the file {file} that its index names.",
        model=folder.name,
        file=_shown(name),
    )


def _header(path: Path) -> dict[str, Tensor]:
    """Names, types and shapes of a safetensors file, checked against its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise damaged(path, "its header has an impossible length")
        header = _parse_json(path, file.read(length))
    header.pop("__metadata__", None)
    if len(header) > MOST_TENSORS:
        raise damaged(path, "it lists too many tensors")
    return dict(_sound(path, header, size - 8 - length))


def _sound(path: Path, header: Json, data_bytes: int) -> Iterator[tuple[str, Tensor]]:
    """The entries; together they must fill the rest of the file, without a gap or an overlap."""
    places = []
    for name, entry in header.items():
        tensor, start, end = _tensor(path, name, entry)
        places.append((start, end))
        yield name, tensor
    reached = 0
    for start, end in sorted(places):
        if start != reached:
            raise damaged(path, "its tensors overlap or leave gaps")
        reached = end
    if reached != data_bytes:
        raise damaged(path, "its length is not what its header says")


def _tensor(path: Path, name: str, entry: Any) -> tuple[Tensor, int, int]:
    try:
        tensor = Tensor(entry["dtype"], tuple(_length(each) for each in entry["shape"]))
        start, end = (_length(offset) for offset in entry["data_offsets"])
        sound = (
            NAME.fullmatch(name) is not None
            and isinstance(entry["shape"], list)
            and len(tensor.shape) <= MOST_DIMENSIONS
            and end - start == tensor.bytes
        )
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise ModelRefused(
            "“{name}” is damaged: {file}: the entry of {entry} is not sound.",
            name=path.parent.name,
            file=path.name,
            entry=_shown(name),
        )
    return tensor, start, end


def _length(value: Any) -> int:
    """A length or an offset; raises `ValueError` for what is none."""
    if type(value) is not int or not 0 <= value <= LONGEST:
        raise ValueError
    return value


def _parse_json(path: Path, content: bytes) -> Json:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "it is not valid JSON") from error
    if not isinstance(value, dict):
        raise damaged(path, "it is not a JSON object")
    return value


def _shown(name: str) -> str:
    """A name out of a file as a sentence may carry it: short, and nothing that cannot be stored."""
    return name[:80].encode("ascii", "backslashreplace").decode()
