"""How a tokenizer cuts text into words, and what llama.cpp calls that rule. Imports no torch."""

from collections.abc import Iterator
from typing import Any

from labs.contract import Json, LabError

SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
# The expression that tokenizers builds into ByteLevel.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = f"{CONTRACTIONS}|{LETTERS}|\\p{{N}}|{REST}|{SPACES}"
LLAMA3 = f"{CONTRACTIONS}|{LETTERS}|\\p{{N}}{{1,3}}|{REST}|{SPACES}"
DIGITS = r"\p{N}"
# Expressions in their order, and whether a word that is a token is taken without merging.
RULES = {
    ((GPT2,), False): "gpt-2",
    ((QWEN2,), False): "qwen2",
    ((LLAMA3,), True): "llama-bpe",
    ((LLAMA3,), False): "smaug-bpe",
    ((DIGITS, GPT2), False): "smollm",
}


def cutting_rule(stored: Json, name: str) -> str:
    """`tokenizer.ggml.pre` of a tokenizer.json.

    Raises:
        LabError: If the tokenizer is no byte-level BPE, or cuts in a way that has no name there.
    """
    model = stored.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback") or not _has_bytes(model):
        raise LabError(
            "The tokenizer of “{name}” is no byte-level BPE; others are not written as GGUF here.",
            name=name,
        )
    normalizer = stored.get("normalizer")
    if normalizer is not None and normalizer.get("type") != "NFC":
        raise _refused(name, f"normalizer {normalizer.get('type')}")
    try:
        expressions = tuple(_expressions(stored.get("pre_tokenizer")))
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(name, str(error)) from error
    if not model.get("merges"):
        return "gpt-2"  # every byte is a token of its own, however the text is cut
    found = RULES.get((expressions, bool(model.get("ignore_merges"))))
    if found is None:
        raise _refused(name, " ".join(expressions)[:200] or "-")
    return found


def _has_bytes(model: Json) -> bool:
    """Byte-level vocabularies hold the space as Ġ and the line feed as Ċ."""
    return {"Ġ", "Ċ"} <= set(model.get("vocab") or {})


def _expressions(step: Any) -> Iterator[str]:
    """The expressions that split, in order; raises `ValueError` for a step that is none."""
    kind = (step or {}).get("type")
    if kind == "Sequence":
        for each in step["pretokenizers"]:
            yield from _expressions(each)
    elif kind == "ByteLevel" and not step.get("add_prefix_space"):
        if step.get("use_regex", True):
            yield GPT2
    elif kind == "Split" and step["behavior"] == "Isolated" and not step.get("invert"):
        yield str(step["pattern"]["Regex"])
    elif kind == "Digits" and step["individual_digits"]:
        yield DIGITS
    else:
        raise ValueError(f"pre-tokenizer {kind}")


def _refused(name: str, rule: str) -> LabError:
    return LabError(
        "The tokenizer of “{name}” cuts text by a rule that llama.cpp has no name for ({rule}). A GGUF file would read texts as other tokens, so none is written.",
        name=name,
        rule=rule,
    )
