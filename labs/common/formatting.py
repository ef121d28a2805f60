"""Examples as token ids: the prompt as the model will see it, the answer, and the end.

Only the answer and the end token are learned. The prompt is rendered and tokenized
exactly as at inference, then the rest of the conversation is tokenized behind it; so
where the answer begins is known, not searched for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from labs.formats import Example, Message

# For tokenizers without a chat template. Named on the run page, never used silently.
PLAIN_TEMPLATE = "plain"
PLAIN_PROMPT = "### {role}:\n{content}\n\n"
PLAIN_REPLY = "### Assistant:\n"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one example; the first `prompt_length` are given, the others learned."""

    ids: tuple[int, ...]
    prompt_length: int
    truncated: bool = False

    @property
    def targets(self) -> int:
        """How many tokens are predicted: the very first token of a row never is."""
        return len(self.ids) - max(1, self.prompt_length)


def template_name(tokenizer: PreTrainedTokenizerBase) -> str:
    """Which template renders conversations: the tokenizer's own, or the plain one."""
    return "chat template" if tokenizer.chat_template else PLAIN_TEMPLATE


def encode(tokenizer: PreTrainedTokenizerBase, example: Example, max_length: int) -> Encoded:
    """Encode an example to learn from.

    A row that is too long loses the beginning of its prompt; only an answer that is too
    long by itself loses its end.
    """
    prompt = encode_prompt(tokenizer, example.prompt)
    answer = encode_answer(tokenizer, example.prompt, example.answer)
    kept = max(0, max_length - len(answer))
    truncated = len(prompt) > kept
    prompt = prompt[len(prompt) - kept :] if truncated else prompt
    ids = (*prompt, *answer)[:max_length]
    return Encoded(ids, min(len(prompt), len(ids)), truncated)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> tuple[int, ...]:
    """Token ids up to where the answer begins, as training and inference both use them."""
    if not prompt:
        return _begin_ids(tokenizer)
    ids = _ids(tokenizer, render_prompt(tokenizer, prompt))
    return ids if tokenizer.chat_template else (*_begin_ids(tokenizer), *ids)


def encode_answer(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], answer: str
) -> tuple[int, ...]:
    """Token ids of the answer with the end token that generation stops at."""
    end = int(tokenizer.eos_token_id)
    ids = _ids(tokenizer, _render_answer(tokenizer, prompt, answer))
    if end not in ids:
        return (*ids, end)
    # Templates put a line break behind the end token; nothing is to be learned there.
    return ids[: len(ids) - ids[::-1].index(end)]


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> str:
    """The prompt as text, up to where the assistant speaks."""
    if not tokenizer.chat_template:
        turns = (PLAIN_PROMPT.format(role=m.role.title(), content=m.content) for m in prompt)
        return "".join(turns) + PLAIN_REPLY
    return _apply(tokenizer, prompt, add_generation_prompt=True)


def _render_answer(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], answer: str
) -> str:
    if not prompt or not tokenizer.chat_template:
        return answer
    before = render_prompt(tokenizer, prompt)
    whole = _apply(tokenizer, [*prompt, Message("assistant", answer)], add_generation_prompt=False)
    return whole.removeprefix(before) if whole.startswith(before) else answer


def _apply(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], add_generation_prompt: bool
) -> str:
    turns: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
    return str(
        tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    )


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False).input_ids)


def _begin_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer puts before a text by itself, without the end token some add."""
    ids = tuple(tokenizer("").input_ids)
    return tuple(token for token in ids if token == tokenizer.bos_token_id)
