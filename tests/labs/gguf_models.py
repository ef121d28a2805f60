"""Random two-layer models of the families that llama.cpp computes, sharp enough to tell apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.labs.tiny import make_tokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 264,  # five ids more than the tokenizer has tokens
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}


def _llama(**more: Any) -> Callable[[], PreTrainedModel]:
    return lambda: _made(LlamaForCausalLM, LlamaConfig(**{**SMALL, **more}))


def _made(kind: Any, config: Any) -> PreTrainedModel:
    """Biases start at zero; here they count."""
    torch.manual_seed(0)
    model: PreTrainedModel = kind(config).eval()
    for name, each in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(each, std=0.3)
    return model


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": _llama(),
    "llama, biases, own head size": _llama(attention_bias=True, mlp_bias=True, head_dim=24),
    "llama, tied": _llama(tie_word_embeddings=True),
    "llama 3 positions": _llama(rope_parameters=LLAMA3),
    "linear positions": _llama(
        rope_parameters={"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    ),
    "yarn positions": lambda: _made(Qwen2ForCausalLM, Qwen2Config(**SMALL, rope_parameters=YARN)),
    "mistral": lambda: _made(MistralForCausalLM, MistralConfig(**SMALL)),
    "qwen2": lambda: _made(Qwen2ForCausalLM, Qwen2Config(**SMALL)),
    "qwen3": lambda: _made(Qwen3ForCausalLM, Qwen3Config(**SMALL, head_dim=16)),
    "gpt2": lambda: _made(
        GPT2LMHeadModel,
        GPT2Config(
            vocab_size=264,
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=256,
            bos_token_id=2,
            eos_token_id=2,
            initializer_range=0.3,
        ),
    ),
}


def make_folder(name: str, folder: Path) -> Path:
    """A model folder with a tokenizer of single bytes."""
    MODELS[name]().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
