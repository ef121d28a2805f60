"""What a GGUF file says of its model beside the weights."""

from collections.abc import Mapping
from pathlib import Path

from gguf import GGUFWriter

from labs.contract import Json
from labs.gguf.architectures import GPT2, architecture_of
from labs.gguf.kinds import FILE_TYPES
from labs.gguf.positions import Positions
from labs.gguf.vocabulary import Vocabulary
from labs.models import ModelFacts

# Of the layout of quantized blocks; 2 since May 2023.
QUANTIZATION_VERSION = 2
GENERAL = {
    "description": "general.description",
    "license": "general.license",
    "source": "general.source.url",
    "version": "general.version",
}


def add_general(
    writer: GGUFWriter, kind: str, name: str, described: Mapping[str, str], parameters: int
) -> None:
    """Name, licence, where the model comes from, and how its weights are stored."""
    writer.add_type("model")
    writer.add_name(name)
    writer.add_size_label(_size_label(parameters))
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(QUANTIZATION_VERSION)
    writer.add_quantized_by("Bunsen")
    if described.get("base_model"):
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, described["base_model"])
    for key, value in described.items():
        if key != "base_model" and value:
            writer.add_string(GENERAL.get(key, f"bunsen.{key}"), str(value))


def _size_label(parameters: int) -> str:
    for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if parameters >= scale:
            return f"{parameters / scale:.3g}{unit}"
    return str(parameters)


def add_shape(writer: GGUFWriter, facts: ModelFacts, config: Json, positions: Positions) -> None:
    """Layers, heads, sizes and norms, under the architecture's name."""
    writer.add_context_length(positions.context)
    writer.add_embedding_length(facts.hidden_size)
    writer.add_block_count(facts.layers)
    writer.add_feed_forward_length(facts.intermediate_size)
    writer.add_head_count(facts.heads)
    writer.add_vocab_size(facts.vocab_size)
    if architecture_of(facts.model_type) is GPT2:
        writer.add_layer_norm_eps(float(config.get("layer_norm_epsilon", 1e-5)))
        return
    writer.add_head_count_kv(facts.kv_heads)
    writer.add_key_length(facts.head_dim)
    writer.add_value_length(facts.head_dim)
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    for key, value in positions.metadata.items():
        _add(writer, f"{writer.arch}.{key}", value)


def _add(writer: GGUFWriter, key: str, value: float | str) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_float32(key, value)


def add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    """Tokens, merges, the cutting rule, special ids and the chat template."""
    writer.add_tokenizer_model("gpt2")  # llama.cpp's name for every byte-level BPE
    writer.add_tokenizer_pre(vocabulary.rule)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    writer.add_token_merges(list(vocabulary.merges))
    ids = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "pad": writer.add_pad_token_id,
        "unk": writer.add_unk_token_id,
    }
    for role, number in vocabulary.specials.items():
        ids[role](number)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def license_of(folder: Path) -> str:
    """The licence that a model card states between its first two lines of dashes, or nothing."""
    card = folder / "README.md"
    lines = (
        card.read_text(encoding="utf-8", errors="replace").splitlines() if card.is_file() else []
    )
    if not lines or lines[0] != "---":
        return ""
    head = lines[1 : lines.index("---", 1)] if "---" in lines[1:] else []
    stated = next((line for line in head if line.startswith("license:")), "")
    return stated.partition(":")[2].strip().strip("\"'")
