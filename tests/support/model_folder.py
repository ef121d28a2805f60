"""Model folders without torch: a config, a tokenizer of few words, weights of a few numbers."""

import json
import struct
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

CARD = "---\nlicense: mit\nlanguage: en\n---\n# A tiny model\n"
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
SHAPES = {
    "model.embed_tokens.weight": (4, 8),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.q_proj.bias": (8,),
    "model.layers.0.self_attn.k_proj.weight": (4, 8),
    "model.layers.0.self_attn.v_proj.weight": (4, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 16),
}


def make_folder(folder: Path, card: str = CARD, **config: Any) -> Path:
    """A Llama with one layer, without biases but those of its queries."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (folder / "README.md").write_text(card)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    (folder / "model.safetensors").write_bytes(weights(SHAPES))
    return folder


def weights(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of zeros."""
    header, reached = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        offsets = [reached, reached + size]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        reached += size
    dumped = json.dumps(header).encode()
    return struct.pack("<Q", len(dumped)) + dumped + bytes(reached)
