"""Rows as token ids, as a lab's trainer will make them, without torch or transformers.

The same rules as labs/common/formatting.py, which needs transformers; a test holds the two
together row by row. `tokenizers` and jinja are imported when the first row is read: the
device worker and the housekeeper import this room too and never read one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.i18n import N_
from app.runs.preflight.stamps import Stamp, stamp_of
from labs.contract import LabError
from labs.formats import Example, Message

if TYPE_CHECKING:
    from jinja2 import Template
    from tokenizers import Tokenizer

Json = dict[str, Any]
PLAIN_PROMPT = "### {role}:\n{content}\n\n"
PLAIN_REPLY = "### Assistant:\n"
LARGEST_FILE = 64 << 20
# In no vocabulary: a tokenizer without a token for what it does not know raises at such a text.
UNHEARD_OF = "\U000107ff\ue000"
# Longer texts are measured as if they ended here: far beyond what any row may keep.
LONGEST_TEXT = 150_000


@dataclass(frozen=True, slots=True)
class RowLength:
    """Tokens of one row before it is cut: given ones, and learned ones with the end token."""

    prompt: int
    answer: int
    unknown: int
    largest_id: int

    @property
    def total(self) -> int:
        return self.prompt + self.answer

    def targets(self, max_length: int) -> int:
        """Tokens that are predicted after cutting: the very first of a row never is."""
        given = min(self.prompt, max(0, max_length - self.answer))
        return min(given + self.answer, max_length) - max(1, given)


@dataclass(frozen=True, slots=True)
class RowText:
    """One row as text: what is given, what is learned with its end token, what stands behind it."""

    given: str
    learned: str
    behind: str


class RowTokenizer:
    """A base model's own tokenizer and template."""

    def __init__(
        self, tokenizer: "Tokenizer", template: "Template | None", config: Json, words: Json
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._words = words
        self._end_word = words.get("eos_token", "")
        self._end = _id(tokenizer, words.get("eos_token"))
        self._unknown = _id(tokenizer, words.get("unk_token"))
        begin = _id(tokenizer, words.get("bos_token"))
        by_itself = tokenizer.encode("").ids
        adds = begin is not None and (begin in by_itself or config.get("add_bos_token") is True)
        self._begin = [begin] if adds and begin is not None else []
        self._begin_word = words.get("bos_token", "") if self._begin else ""

    def measure(self, example: Example) -> RowLength:
        """How long a row is. Raises `TemplateRefused` for what the model's template refuses."""
        before = self._prompt_text(example.prompt) if example.prompt else ""
        templated = bool(example.prompt) and self._template is not None
        prompt = [*([] if templated else self._begin), *self._ids(before)]
        answer = self._ids(self._answer_text(example, before))
        ids = [*prompt, *answer]
        return RowLength(
            len(prompt),
            self._to_the_end(answer),
            sum(each == self._unknown for each in ids) if self._unknown is not None else 0,
            max(ids, default=0),
        )

    def text(self, example: Example) -> RowText:
        """A row as the trainer will make it. Raises `TemplateRefused` as `measure` does."""
        before = self._prompt_text(example.prompt) if example.prompt else ""
        templated = bool(example.prompt) and self._template is not None
        answer = self._answer_text(example, before)
        at = answer.rfind(self._end_word) if self._end_word else -1
        if at < 0:
            learned, behind = answer + self._end_word, ""
        else:
            at += len(self._end_word)
            learned, behind = answer[:at], answer[at:]
        return RowText(before if templated else self._begin_word + before, learned, behind)

    def _prompt_text(self, prompt: Sequence[Message]) -> str:
        if self._template is None:
            turns = (PLAIN_PROMPT.format(role=m.role.title(), content=m.content) for m in prompt)
            return "".join(turns) + PLAIN_REPLY
        return self._apply(prompt, add_generation_prompt=True)

    def _answer_text(self, example: Example, before: str) -> str:
        if not example.prompt or self._template is None:
            return example.answer
        turns = [*example.prompt, Message("assistant", example.answer)]
        whole = self._apply(turns, add_generation_prompt=False)
        return whole.removeprefix(before) if whole.startswith(before) else example.answer

    def _apply(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        assert self._template is not None, "there is a template where one is applied"
        turns = [{"role": m.role, "content": m.content} for m in messages]
        given: Json = {"tools": None, "documents": None, **self._words}
        try:
            return self._template.render(
                messages=turns, add_generation_prompt=add_generation_prompt, **given
            )
        except Exception as error:  # a template is somebody else's code and may raise anything
            raise TemplateRefused(str(error)[:200]) from error

    def _ids(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self._tokenizer.encode(text[:LONGEST_TEXT], add_special_tokens=False).ids
        return ids

    def _to_the_end(self, ids: list[int]) -> int:
        """How many ids the answer has with its end token and nothing behind it."""
        if self._end is None or self._end not in ids:
            return len(ids) + 1
        return len(ids) - ids[::-1].index(self._end)


class TemplateRefused(Exception):
    """The model's chat template does not take these messages; its text says why."""


def row_tokenizer(folder: Path) -> RowTokenizer | None:
    """The tokenizer of a model folder, read once; None for a kind that only transformers reads.

    Raises:
        LabError: If its files are damaged.
    """
    return _read(folder, stamp_of(folder, "*token*"), stamp_of(folder, "*.jinja"))


@lru_cache(maxsize=4)
def _read(folder: Path, stamp: Stamp, templates: Stamp) -> RowTokenizer | None:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        return None
    config = _config(folder)
    source = _template_source(folder, config)
    template = None if source is None else _compiled(folder, source)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.encode(UNHEARD_OF)
    except Exception as error:  # tokenizers raises nothing narrower for a file that it cannot read
        raise _unreadable(folder, path.name, str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return RowTokenizer(tokenizer, template, config, _words(config))


def _config(folder: Path) -> Json:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise _unreadable(folder, path.name, str(error)) from error
    return config if isinstance(config, dict) else {}


def _words(config: Json) -> Json:
    """The special tokens by their names: `eos_token` and its like."""
    texts = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in config.items()
        if name.endswith("_token")
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _template_source(folder: Path, config: Json) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    stated = config.get("chat_template")
    if isinstance(stated, list):
        named = {e.get("name"): e.get("template") for e in stated if isinstance(e, dict)}
        stated = named.get("default")
    return stated if isinstance(stated, str) and stated else None


def _compiled(folder: Path, source: str) -> "Template":
    from jinja2 import TemplateError

    from app.runs.preflight.chat_template import compiled

    try:
        return compiled(source)
    except TemplateError as error:
        raise _unreadable(folder, "chat_template", str(error)) from error


def _id(tokenizer: "Tokenizer", word: str | None) -> int | None:
    found: int | None = tokenizer.token_to_id(word) if word else None
    return found


def _unreadable(folder: Path, file: str, reason: str) -> LabError:
    told = N_("The tokenizer of “{name}” cannot be read: {file}: {detail}.")
    return LabError(told, name=folder.name, file=file, detail=reason[:200].rstrip("."))
