"""A two-layer Qwen2 with random weights and a few rows, made in a tenth of a second."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """One token for each byte, and three special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast  # transformers leaves it untyped
    made: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=chat_template,
    )
    return made


def make_network(seed: int = 0) -> Qwen2ForCausalLM:
    """Two layers, 64 wide, four heads of which two keep keys and values."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=259,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    make: Any = Qwen2ForCausalLM  # transformers leaves it untyped
    network: Qwen2ForCausalLM = make(config).eval()
    return network


def make_model(folder: Path, seed: int = 0) -> Path:
    """A model folder as the hub has them."""
    make_network(seed).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def make_dataset(path: Path, rows: int = 60) -> Path:
    """A word and its last letter, as prompt and completion."""
    return _write(path, rows, "prompt", "completion")


def make_labelled(path: Path, rows: int = 60) -> Path:
    """The same words as texts whose label is their last letter."""
    return _write(path, rows, "text", "label")


def _write(path: Path, rows: int, asked: str, answered: str) -> Path:
    dice = random.Random(0)
    words = ["".join(dice.choices("abcdef", k=4)) for _ in range(rows)]
    lines = (json.dumps({asked: word, answered: word[-1]}) for word in words)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
