"""What a model folder holds, read from its config and safetensors headers. Imports no torch.

The web process asks before a run is queued, so nothing here loads weights, and nothing
in a folder is executed: pickles and repositories with code of their own are refused.
"""

import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.contract import Json, LabError

LARGEST_JSON = 64 << 20
LARGEST_HEADER = 100 << 20
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
CAUSAL = ("ForCausalLM", "LMHeadModel")
DTYPE_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class ModelRefused(LabError):
    """The folder holds no model that a lab can load safely."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The weight matrices of one name inside the layers; equal in shape."""

    count: int
    outputs: int
    inputs: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model without loading it."""

    name: str
    model_type: str
    architecture: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    tied: bool
    # Numbers in the bias vectors of each module, over all layers: {"self_attn.q_proj": 1024}.
    biases: Mapping[str, int]
    parameters: int
    bytes: int
    dtype: str
    has_chat_template: bool
    quantization: str
    matrices: Mapping[str, Matrix]
    # The parts of a layer by their own names: {"self_attn", "mlp", "input_layernorm", …}.
    sublayers: frozenset[str]


def read_facts(folder: Path) -> ModelFacts:
    """Read a Hugging Face model folder; raises `ModelRefused` with the reason."""
    if not folder.is_dir():
        raise ModelRefused("There is no model folder “{name}”.", name=folder.name)
    config = _config(folder)
    _refuse_code(folder, config)
    _require_tokenizer(folder)
    tensors = dict(_tensors(folder))
    return _facts(folder, config, tensors)


@dataclass(frozen=True, slots=True)
class _Tensor:
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


def _config(folder: Path) -> Json:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelRefused("“{name}” has no config.json.", name=folder.name)
    config = _read_json(path)
    architecture = _architecture(config)
    if not architecture.endswith(CAUSAL):
        raise ModelRefused(
            "“{name}” is no causal language model: its architecture is {architecture}.",
            name=folder.name,
            architecture=architecture or "not stated",
        )
    return config


def _architecture(config: Json) -> str:
    listed = config.get("architectures")
    return str(listed[0]) if isinstance(listed, list) and listed else ""


def _refuse_code(folder: Path, config: Json) -> None:
    files = (folder / "tokenizer_config.json", folder / "generation_config.json")
    others = [_read_json(path) for path in files if path.is_file()]
    if any("auto_map" in each for each in (config, *others)):
        raise ModelRefused(
            "“{name}” needs code of its own (auto_map). Only models that transformers itself knows are allowed.",
            name=folder.name,
        )


def _require_tokenizer(folder: Path) -> None:
    if not any((folder / file).is_file() for file in TOKENIZERS):
        raise ModelRefused(
            "“{name}” has no tokenizer. Add its tokenizer.json and tokenizer_config.json.",
            name=folder.name,
        )


def _tensors(folder: Path) -> Iterator[tuple[str, _Tensor]]:
    for path in _weight_files(folder):
        yield from _header(path).items()


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _shards(folder, index)
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if any(found for pattern in PICKLES for found in folder.glob(pattern)):
        raise ModelRefused(
            "“{name}” has pickled weights only, which can run code when they are loaded. Convert them to safetensors first.",
            name=folder.name,
        )
    raise ModelRefused("“{name}” has no model.safetensors.", name=folder.name)


def _shards(folder: Path, index: Path) -> list[Path]:
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _damaged(index, "it lists no weights")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelRefused(
                "“{model}” lacks the file {file} that its index names.",
                model=folder.name,
                file=name,
            )
    return [folder / name for name in names]


def _header(path: Path) -> dict[str, _Tensor]:
    """Names, types and shapes of a safetensors file, checked against its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise _damaged(path, "its header has an impossible length")
        header = _parse_json(path, file.read(length))
    header.pop("__metadata__", None)
    return {name: _tensor(path, name, entry, size - 8 - length) for name, entry in header.items()}


def _tensor(path: Path, name: str, entry: Any, data_bytes: int) -> _Tensor:
    try:
        tensor = _Tensor(entry["dtype"], tuple(int(length) for length in entry["shape"]))
        start, end = (int(offset) for offset in entry["data_offsets"])
        sound = 0 <= start <= end <= data_bytes and end - start == tensor.bytes
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound or any(length < 0 for length in tensor.shape):
        raise ModelRefused(
            "“{name}” is damaged: {file}: the entry of {entry} is not sound.",
            name=path.parent.name,
            file=path.name,
            entry=name[:80],
        )
    return tensor


def _facts(folder: Path, config: Json, tensors: Mapping[str, _Tensor]) -> ModelFacts:
    whole = _Numbers(folder, config)
    hidden = whole("hidden_size", "n_embd", "d_model")
    heads = whole("num_attention_heads", "n_head")
    kinds = Counter[str]()
    for tensor in tensors.values():
        kinds[tensor.dtype] += tensor.size
    stored = kinds.most_common(1)[0][0] if kinds else "F32"
    quantization = config.get("quantization_config") or {}
    return ModelFacts(
        name=folder.name,
        model_type=str(config.get("model_type", "")),
        architecture=_architecture(config),
        layers=whole("num_hidden_layers", "n_layer", "num_layers"),
        hidden_size=hidden,
        heads=heads,
        kv_heads=whole("num_key_value_heads", default=heads),
        head_dim=whole("head_dim", default=max(1, hidden // heads)),
        intermediate_size=whole("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
        vocab_size=whole("vocab_size"),
        max_positions=whole("max_position_embeddings", "n_positions", "n_ctx", default=2048),
        tied=bool(config.get("tie_word_embeddings", "lm_head.weight" not in tensors)),
        biases=_biases(tensors),
        parameters=sum(tensor.size for tensor in tensors.values()),
        bytes=sum(tensor.bytes for tensor in tensors.values()),
        dtype=DTYPE_NAMES.get(stored, stored.lower()),
        has_chat_template=_has_chat_template(folder),
        quantization=str(quantization.get("quant_method", "")),
        matrices=_matrices(tensors),
        sublayers=frozenset(_sublayers(tensors)),
    )


class _Numbers:
    """Whole numbers of a config under any of their names."""

    def __init__(self, folder: Path, config: Json) -> None:
        self.folder = folder
        self.config = config

    def __call__(self, *names: str, default: int | None = None) -> int:
        for name in names:
            value = self.config.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        if default is None:
            raise ModelRefused(
                "config.json of “{name}” does not state {field}.",
                name=self.folder.name,
                field=names[0],
            )
        return default


def _biases(tensors: Mapping[str, _Tensor]) -> dict[str, int]:
    """`model.layers.0.self_attn.q_proj.bias` counts for `self_attn.q_proj`."""
    found = Counter[str]()
    for name, tensor in tensors.items():
        path, _, last = name.rpartition(".")
        if last == "bias":
            steps = path.split(".")
            layer = next((i for i, step in enumerate(steps) if step.isdigit()), -1)
            found[".".join(steps[layer + 1 :])] += tensor.size
    return dict(found)


def _matrices(tensors: Mapping[str, _Tensor]) -> dict[str, Matrix]:
    """Weight matrices inside the numbered layers, by the last part of their module's name."""
    found: dict[str, Matrix] = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[-1] != "weight" or len(tensor.shape) != 2 or not any(map(str.isdigit, parts)):
            continue
        known = found.get(parts[-2])
        outputs, inputs = tensor.shape
        found[parts[-2]] = Matrix((known.count if known else 0) + 1, outputs, inputs)
    return found


def _sublayers(tensors: Mapping[str, _Tensor]) -> Iterator[str]:
    """`model.layers.0.self_attn.q_proj.weight` lies in `self_attn`."""
    for name in tensors:
        steps = name.split(".")
        layer = next((i for i, step in enumerate(steps) if step.isdigit()), None)
        if layer is not None and layer + 1 < len(steps):
            yield steps[layer + 1]


def _has_chat_template(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    stated = path.is_file() and bool(_read_json(path).get("chat_template"))
    return stated or (folder / "chat_template.jinja").is_file()


def _read_json(path: Path) -> Json:
    if path.stat().st_size > LARGEST_JSON:
        raise _damaged(path, "it is larger than 64 MiB")
    return _parse_json(path, path.read_bytes())


def _parse_json(path: Path, content: bytes) -> Json:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not valid JSON") from error
    if not isinstance(value, dict):
        raise _damaged(path, "it is not a JSON object")
    return value


def _damaged(path: Path, reason: str) -> ModelRefused:
    return ModelRefused(
        "“{name}” is damaged: {file}: {reason}.",
        name=path.parent.name,
        file=path.name,
        reason=reason,
    )
