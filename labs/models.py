"""What a model folder holds, read from its config and safetensors headers. Imports no torch.

The web process asks before a run is queued, so nothing here loads weights, and nothing
in a folder is executed: pickles and repositories with code of their own are refused.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.contract import Json
from labs.model_files import TOKENIZERS, ModelRefused, Tensor, damaged, read_json, read_tensors
from labs.packed import unpacked, whole_dtype

__all__ = ["Matrix", "ModelFacts", "ModelRefused", "read_config", "read_facts"]

CAUSAL = ("ForCausalLM", "LMHeadModel")
# Families whose matrices are stored with their inputs first (transformers' Conv1D).
TRANSPOSED = ("gpt2", "openai-gpt")
DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# What transformers calls models, classes and methods; anything else in their place is not shown.
WORD = re.compile(r"[A-Za-z0-9_.-]{1,80}")
LARGEST_NUMBER = 1 << 31
MOST_LAYERS = 10_000
# Modules of a layer with different names; a model has about ten, with experts some hundreds.
MOST_PARTS = 5_000


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
    config = read_config(folder)
    return _facts(folder, config, read_tensors(folder))


def read_config(folder: Path) -> Json:
    """`config.json` of a causal language model that transformers itself knows, with a tokenizer.

    Says without any weights what can be said against a folder.

    Raises:
        ModelRefused: With the reason.
    """
    config = _config(folder)
    _refuse_code(folder, config)
    _require_tokenizer(folder)
    return config


def _config(folder: Path) -> Json:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelRefused("“{name}” has no config.json.", name=folder.name)
    config = read_json(path)
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
    return _word(listed[0]) if isinstance(listed, list) and listed else ""


def _word(value: Any) -> str:
    """A name of the kind that transformers gives, else nothing."""
    return value if isinstance(value, str) and WORD.fullmatch(value) else ""


def _refuse_code(folder: Path, config: Json) -> None:
    files = (folder / "tokenizer_config.json", folder / "generation_config.json")
    others = [read_json(path) for path in files if path.is_file()]
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


def _facts(folder: Path, config: Json, tensors: Mapping[str, Tensor]) -> ModelFacts:
    whole = _Numbers(folder, config)
    hidden = whole("hidden_size", "n_embd", "d_model")
    heads = whole("num_attention_heads", "n_head")
    kinds = Counter[str]()
    for tensor in tensors.values():
        kinds[tensor.dtype] += tensor.size
    stored = kinds.most_common(1)[0][0] if kinds else "F32"
    on_disk, quantization = sum(tensor.bytes for tensor in tensors.values()), _quantization(config)
    if quantization:
        stored, tensors = whole_dtype(tensors), unpacked(tensors, config)
    tensors = {name: tensor for name, tensor in tensors.items() if not _is_buffer(name, tensor)}
    model_type = _word(config.get("model_type"))
    biases, matrices = _biases(tensors), _matrices(tensors, model_type in TRANSPOSED)
    sublayers = frozenset(_sublayers(tensors))
    _refuse_many(folder, biases, matrices, sublayers)
    return ModelFacts(
        name=folder.name,
        model_type=model_type,
        architecture=_architecture(config),
        layers=whole("num_hidden_layers", "n_layer", "num_layers", most=MOST_LAYERS),
        hidden_size=hidden,
        heads=heads,
        kv_heads=whole("num_key_value_heads", default=heads),
        head_dim=whole("head_dim", default=max(1, hidden // heads)),
        intermediate_size=whole("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
        vocab_size=whole("vocab_size"),
        max_positions=whole("max_position_embeddings", "n_positions", "n_ctx", default=2048),
        tied=bool(config.get("tie_word_embeddings", "lm_head.weight" not in tensors)),
        biases=biases,
        parameters=sum(tensor.size for tensor in tensors.values()),
        bytes=on_disk if quantization else sum(tensor.bytes for tensor in tensors.values()),
        dtype=DTYPE_NAMES.get(stored, stored.lower()),
        has_chat_template=_has_chat_template(folder),
        quantization=quantization,
        matrices=matrices,
        sublayers=sublayers,
    )


def _refuse_many(folder: Path, *parts: Sized) -> None:
    """More kinds of modules in a layer than any model has."""
    if any(len(each) > MOST_PARTS for each in parts):
        raise damaged(folder / "model.safetensors", "it lists too many tensors")


def _quantization(config: Json) -> str:
    """How the weights are stored, where that is in few bits."""
    stated = config.get("quantization_config")
    if not stated:
        return ""
    return (_word(stated.get("quant_method")) if isinstance(stated, dict) else "") or "unknown"


class _Numbers:
    """Whole numbers of a config under any of their names."""

    def __init__(self, folder: Path, config: Json) -> None:
        self.folder = folder
        self.config = config

    def __call__(self, *names: str, default: int | None = None, most: int = LARGEST_NUMBER) -> int:
        for name in names:
            value = self.config.get(name)
            if type(value) is int and 0 < value <= most:
                return value
        if default is None:
            raise ModelRefused(
                "config.json of “{name}” does not state {field}.",
                name=self.folder.name,
                field=names[0],
            )
        return default


def _biases(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """`model.layers.0.self_attn.q_proj.bias` counts for `self_attn.q_proj`."""
    found = Counter[str]()
    for name, tensor in tensors.items():
        path, _, last = name.rpartition(".")
        if last == "bias":
            steps = path.split(".")
            layer = next((i for i, step in enumerate(steps) if step.isdigit()), -1)
            found[".".join(steps[layer + 1 :])] += tensor.size
    return dict(found)


def _is_buffer(name: str, tensor: Tensor) -> bool:
    """Masks and frequencies that older files of GPT-2 and GPT-NeoX keep beside the weights."""
    last = name.rpartition(".")[2]
    return last in ("masked_bias", "inv_freq") or (last == "bias" and len(tensor.shape) > 1)


def _matrices(tensors: Mapping[str, Tensor], transposed: bool) -> dict[str, Matrix]:
    """Weight matrices inside the numbered layers, by the last part of their module's name.

    Where two parts of a layer use one name, their own stands before it: `attn.c_proj` and
    `mlp.c_proj` of GPT-2. peft takes both forms.
    """
    inside = {name: _place(name) for name in tensors if name.endswith(".weight")}
    inside = {n: steps for n, steps in inside.items() if steps and len(tensors[n].shape) == 2}
    owners: dict[str, set[str]] = {}
    for steps in inside.values():
        owners.setdefault(steps[-1], set()).add(_owner(steps))
    found: dict[str, Matrix] = {}
    for name, steps in inside.items():
        shared = len(owners[steps[-1]]) > 1 and _owner(steps)
        key = f"{_owner(steps)}.{steps[-1]}" if shared else steps[-1]
        count = found[key].count if key in found else 0
        outputs, inputs = tensors[name].shape[::-1] if transposed else tensors[name].shape
        found[key] = Matrix(count + 1, outputs, inputs)
    return found


def _place(name: str) -> list[str]:
    """`model.layers.0.mlp.up_proj.weight` is `mlp`, `up_proj` of its layer; empty outside layers."""
    steps = name.split(".")[:-1]
    layer = next((i for i, step in enumerate(steps) if step.isdigit()), len(steps))
    return steps[layer + 1 :] or steps[layer:]


def _owner(steps: Sequence[str]) -> str:
    """The part of a layer that a module belongs to; experts of a mixture are not told apart."""
    numbered = any(step.isdigit() for step in steps)
    return "" if numbered or len(steps) < 2 else steps[-2]


def _sublayers(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """`model.layers.0.self_attn.q_proj.weight` lies in `self_attn`."""
    for name in tensors:
        steps = name.split(".")
        layer = next((i for i, step in enumerate(steps) if step.isdigit()), None)
        if layer is not None and layer + 1 < len(steps):
            yield steps[layer + 1]


def _has_chat_template(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    stated = path.is_file() and bool(read_json(path).get("chat_template"))
    return stated or (folder / "chat_template.jinja").is_file()
