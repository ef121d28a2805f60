"""Two-layer models of the families that people bring, with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from tests.labs.tiny import make_network, make_tokenizer

VOCABULARY: dict[str, Any] = {"vocab_size": 259, "bos_token_id": 2, "eos_token_id": 2}
SMALL: dict[str, Any] = {
    **VOCABULARY,
    "pad_token_id": 0,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}


def _gpt2() -> PreTrainedModel:
    config = GPT2Config(**VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=256)
    return _made(GPT2LMHeadModel, config)


def _opt() -> PreTrainedModel:
    return _made(OPTForCausalLM, OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64))


def _gpt_neox() -> PreTrainedModel:
    return _made(GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL, intermediate_size=128))


def _llama() -> PreTrainedModel:
    return _made(LlamaForCausalLM, LlamaConfig(**SMALL, intermediate_size=128))


def _bloom() -> PreTrainedModel:
    config = BloomConfig(**VOCABULARY, pad_token_id=0, hidden_size=64, n_layer=2, n_head=4)
    return _made(BloomForCausalLM, config)


def _made(kind: Any, config: Any) -> PreTrainedModel:
    """transformers leaves its models untyped."""
    made: PreTrainedModel = kind(config).eval()
    return made


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": _gpt2,
    "opt": _opt,
    "gpt_neox": _gpt_neox,
    "qwen2": make_network,
    "llama": _llama,
    "bloom": _bloom,
}


def make_family(name: str, folder: Path) -> Path:
    """A model folder of a family, as the hub has them."""
    torch.manual_seed(0)
    FAMILIES[name]().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
