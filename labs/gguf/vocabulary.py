"""A tokenizer as llama.cpp needs it: tokens, merges, and how text is cut before. Imports no torch.

llama.cpp cuts a text into words by a rule that it knows by name, then merges bytes inside words. A
rule that differs from the model's in one letter gives other tokens and silently a worse model: only
rules that are equal, letter by letter, are written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.contract import Json, LabError
from labs.gguf.cutting import cutting_rule
from labs.model_files import read_json

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
# llama.cpp wants at least one merge. Of this one nothing comes: no token “~~” is in the vocabulary,
# and what is not is cut into its bytes again.
NO_MERGE = "~ ~"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What stands in a GGUF file of a tokenizer; ids are the model's own."""

    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]
    rule: str
    specials: Mapping[str, int]
    add_bos: bool
    add_eos: bool
    chat_template: str


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Read `tokenizer.json` and what stands beside it.

    Args:
        folder: A model folder.
        size: Rows of the model's embedding; ids without a token are filled up.

    Raises:
        LabError: If llama.cpp has no equal for this tokenizer.
    """
    if not (folder / "tokenizer.json").is_file():
        raise LabError(
            "“{name}” has no tokenizer.json, from which the tokens of a GGUF file are taken. Load its tokenizer with transformers and save it once.",
            name=folder.name,
        )
    stored = read_json(folder / "tokenizer.json")
    model, added = stored.get("model") or {}, stored.get("added_tokens") or []
    rule = cutting_rule(stored, folder.name)
    known = {int(each["id"]): each for each in added}
    names = {int(number): token for token, number in model["vocab"].items()}
    names |= {number: str(each["content"]) for number, each in known.items()}
    if max(names) >= size:
        raise LabError(
            "The tokenizer of “{name}” has the token {token}, but the model's embedding only {size} rows.",
            name=folder.name,
            token=max(names),
            size=size,
        )
    settings = _settings(folder)
    specials = _specials(settings, {token: number for number, token in names.items()})
    before, after = _surrounding(stored.get("post_processor"))
    return Vocabulary(
        tokens=[names.get(number, f"[PAD{number}]") for number in range(size)],
        types=[_type(number, names, known) for number in range(size)],
        merges=_merges(model.get("merges") or [], names),
        rule=rule,
        specials=specials,
        add_bos=before,
        add_eos=after,
        chat_template=_chat_template(folder, settings),
    )


def _settings(folder: Path) -> Json:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def _type(number: int, names: Mapping[int, str], added: Mapping[int, Json]) -> int:
    if number in added:
        return CONTROL if added[number].get("special") else USER_DEFINED
    return NORMAL if number in names else UNUSED


def _merges(merges: Sequence[Any], names: Mapping[int, str]) -> list[str]:
    """Both forms of a tokenizer.json: "a b" and ["a", "b"]."""
    written = [each if isinstance(each, str) else " ".join(each) for each in merges]
    return written or ([] if "~~" in names.values() else [NO_MERGE])


def _specials(settings: Json, ids: Mapping[str, int]) -> dict[str, int]:
    found = {}
    for role in ("bos", "eos", "pad", "unk"):
        token = settings.get(f"{role}_token")
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str) and content in ids:
            found[role] = ids[content]
    return found


def _surrounding(processor: Any) -> tuple[bool, bool]:
    """Whether the tokenizer puts a special token before and after every text."""
    steps = (processor or {}).get("processors") or [processor or {}]
    template = next((step for step in steps if step.get("type") == "TemplateProcessing"), None)
    kinds = ["Sequence" in piece for piece in (template or {}).get("single") or []]
    if True not in kinds:
        return False, False
    return not kinds[0], not kinds[-1]


def _chat_template(folder: Path, settings: Json) -> str:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    stated = settings.get("chat_template") or ""
    if isinstance(stated, list):
        stated = next((each["template"] for each in stated if each["name"] == "default"), "")
    return str(stated)
