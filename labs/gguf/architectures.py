"""Which models llama.cpp computes as transformers does, and what it calls their tensors.

Imports no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from labs.contract import LabError
from labs.gguf.kinds import GGUF_TYPES
from labs.models import ModelFacts


@dataclass(frozen=True, slots=True)
class Architecture:
    """A family of models: its name in GGUF, and the tensors of a layer.

    `permuted` are the matrices whose rows llama.cpp wants in another order: it turns neighbouring
    pairs of a head in the rotary embedding, transformers turns halves. `transposed` matrices are
    stored with their inputs first (Conv1D).
    """

    name: str
    layer: str
    parts: Mapping[str, str]
    outside: Mapping[str, str]
    activation: str
    permuted: frozenset[str] = frozenset()
    transposed: frozenset[str] = frozenset()
    biased: frozenset[str] = frozenset()


DECODER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
AROUND = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
QKV = frozenset(("attn_q", "attn_k", "attn_v"))
LLAMA = Architecture(
    name="llama",
    layer="model.layers",
    parts=DECODER,
    outside=AROUND,
    activation="silu",
    permuted=frozenset(("attn_q", "attn_k")),
    biased=QKV | {"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
)
QWEN2 = Architecture("qwen2", "model.layers", DECODER, AROUND, "silu", biased=QKV)
QWEN3 = Architecture(
    name="qwen3",
    layer="model.layers",
    parts={**DECODER, "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"},
    outside=AROUND,
    activation="silu",
)
GPT2_PARTS = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
GPT2 = Architecture(
    name="gpt2",
    layer="transformer.h",
    parts=GPT2_PARTS,
    outside={
        "transformer.wte": "token_embd",
        "transformer.wpe": "position_embd",
        "transformer.ln_f": "output_norm",
        "lm_head": "output",
    },
    activation="gelu_new",
    transposed=frozenset(("attn_qkv", "attn_output", "ffn_up", "ffn_down")),
    biased=frozenset((*GPT2_PARTS.values(), "output_norm")),
)
# By the `model_type` of config.json.
ARCHITECTURES: Mapping[str, Architecture] = {
    "qwen2": QWEN2,
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen3": QWEN3,
    "gpt2": GPT2,
}
# Beside the weights in older files of GPT-2: masks; and frequencies, which llama.cpp computes.
BUFFER = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands in GGUF: `blk.3.attn_q.weight` has role attn_q and layer 3."""

    name: str
    role: str
    layer: int
    is_bias: bool


def architecture_of(model_type: str) -> Architecture:
    """The family; raises `LabError` for one that is not written."""
    found = ARCHITECTURES.get(model_type)
    if found is None:
        raise LabError(
            "Models of the type {model_type} are not written as GGUF here. These are: {known}.",
            model_type=model_type or "?",
            known=", ".join(ARCHITECTURES),
        )
    return found


def place(tensor: str, architecture: Architecture) -> Place:
    """The place of a tensor; raises `LabError` for one that llama.cpp would not read."""
    path, _, last = tensor.rpartition(".")
    if last not in ("weight", "bias"):
        raise _unknown(tensor)
    if architecture is GPT2 and not path.startswith(("transformer.", "lm_head")):
        path = f"transformer.{path}"  # GPT-2 as its authors published it
    inside = re.fullmatch(re.escape(architecture.layer) + r"\.(\d+)\.(.+)", path)
    layer = int(inside[1]) if inside else 0
    role = architecture.parts.get(inside[2]) if inside else architecture.outside.get(path)
    if role is None or (last == "bias" and role not in architecture.biased):
        raise _unknown(tensor)
    name = f"blk.{layer}.{role}" if inside else role
    return Place(f"{name}.{last}", role, layer, last == "bias")


def _unknown(tensor: str) -> LabError:
    return LabError(
        "llama.cpp has no place for the tensor {tensor} of this model, so it cannot be written as GGUF.",
        tensor=tensor,
    )


def refuse_gguf(facts: ModelFacts, kind: str) -> LabError | None:
    """Why a model cannot be written as GGUF of this kind, or None; reads the facts only."""
    if kind not in GGUF_TYPES:
        return LabError(
            "There is no GGUF type “{kind}”. There are: {known}.",
            kind=kind,
            known=", ".join(GGUF_TYPES),
        )
    if facts.quantization:
        return LabError(
            "“{name}” is quantized already ({method}). Write the GGUF file from the model before quantization: its type quantizes it anew.",
            name=facts.name,
            method=facts.quantization,
        )
    try:
        architecture = architecture_of(facts.model_type)
    except LabError as error:
        return error
    known = {f"{part}.bias": role for part, role in architecture.parts.items()}
    for module in facts.biases:
        role = known.get(f"{module}.bias") or architecture.outside.get(module, "output_norm")
        if role not in architecture.biased:
            return _unknown(f"{module}.bias")
    return None
