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

Ids = tuple[int, ...]


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
    """Encode one example to learn from; see `encode_all`."""
    return encode_all(tokenizer, [example], max_length)[0]


def encode_all(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_length: int
) -> list[Encoded]:
    """Encode examples to learn from, tokenized together: that is twice as fast as one by one.

    A row that is too long loses the beginning of its prompt; only an answer that is too
    long by itself loses its end.
    """
    before = [_prompt_text(tokenizer, example.prompt) for example in examples]
    after = [_answer_text(tokenizer, *each) for each in zip(examples, before, strict=True)]
    prompts = _prompt_ids(tokenizer, [example.prompt for example in examples], before)
    answers = [_to_the_end(tokenizer, ids) for ids in _ids(tokenizer, after)]
    return [_fitted(*each, max_length) for each in zip(prompts, answers, strict=True)]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> Ids:
    """Token ids of one prompt; see `encode_prompts`."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]]
) -> list[Ids]:
    """Token ids up to where the answer begins, as training and inference both use them."""
    texts = [_prompt_text(tokenizer, prompt) for prompt in prompts]
    return _prompt_ids(tokenizer, prompts, texts)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Token ids of text that is to be continued as it stands, without any template."""
    return (*_begin_ids(tokenizer), *_ids(tokenizer, [text])[0])


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> str:
    """The prompt as text, up to where the assistant speaks."""
    if not tokenizer.chat_template:
        turns = (PLAIN_PROMPT.format(role=m.role.title(), content=m.content) for m in prompt)
        return "".join(turns) + PLAIN_REPLY
    return _apply(tokenizer, prompt, add_generation_prompt=True)


def _prompt_text(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> str:
    return render_prompt(tokenizer, prompt) if prompt else ""


def _answer_text(tokenizer: PreTrainedTokenizerBase, example: Example, before: str) -> str:
    """What follows the prompt, as the template writes it; then usually the end token."""
    if not example.prompt or not tokenizer.chat_template:
        return example.answer
    turns = [*example.prompt, Message("assistant", example.answer)]
    whole = _apply(tokenizer, turns, add_generation_prompt=False)
    return whole.removeprefix(before) if whole.startswith(before) else example.answer


def _prompt_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
) -> list[Ids]:
    """The begin token stands before what the template does not begin by itself."""
    begin = _begin_ids(tokenizer)
    return [
        ids if prompt and tokenizer.chat_template else (*begin, *ids)
        for prompt, ids in zip(prompts, _ids(tokenizer, texts), strict=True)
    ]


def _to_the_end(tokenizer: PreTrainedTokenizerBase, ids: Ids) -> Ids:
    """An answer's ids with the end token that generation stops at."""
    end = int(tokenizer.eos_token_id)
    if end not in ids:
        return (*ids, end)
    # Templates put a line break behind the end token; nothing is to be learned there.
    return ids[: len(ids) - ids[::-1].index(end)]


def _fitted(prompt: Ids, answer: Ids, max_length: int) -> Encoded:
    kept = max(0, max_length - len(answer))
    truncated = len(prompt) > kept
    prompt = prompt[len(prompt) - kept :] if truncated else prompt
    ids = (*prompt, *answer)[:max_length]
    return Encoded(ids, min(len(prompt), len(ids)), truncated)


def _apply(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], add_generation_prompt: bool
) -> str:
    turns: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
    return str(
        tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    )


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    if not texts:
        return []
    return [tuple(ids) for ids in tokenizer(list(texts), add_special_tokens=False).input_ids]


def _begin_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer puts before a text by itself, without the end token some add."""
    ids = tuple(tokenizer("").input_ids)
    return tuple(token for token in ids if token == tokenizer.bos_token_id)
