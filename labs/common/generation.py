"""Greedy answers, many prompts at a time."""

from collections.abc import Callable, Sequence

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from labs.common.batches import pad_left
from labs.common.loading import CausalModel, end_ids, pad_id


def answers(
    model: CausalModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    device: str,
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """The greedy answer to each prompt, without its end token.

    Args:
        model: A causal language model, or one wrapped by peft.
        tokenizer: Its tokenizer.
        prompts: Token ids, as `formatting.encode_prompt` makes them.
        max_new_tokens: Where an answer is cut if the model does not end it.
        device: Where the model is.
        batch_size: Prompts at a time.
        check: Called before each batch; may raise to stop.
    """
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=end_ids(model, tokenizer),
        pad_token_id=pad_id(tokenizer),
    )
    model.eval()
    found: list[str] = []
    for start in range(0, len(prompts), batch_size):
        check()
        batch = pad_left(prompts[start : start + batch_size], pad_id(tokenizer), device)
        with torch.inference_mode():
            # peft passes the call through to the model it wraps, which its types do not say.
            ids = model.generate(**batch, generation_config=config)  # type: ignore[operator]
        new = ids[:, batch["input_ids"].shape[1] :]
        found += tokenizer.batch_decode(new, skip_special_tokens=True)
    return [answer.strip() for answer in found]


def same_answer(found: str, expected: str) -> bool:
    """Whether two answers say the same, white space aside."""
    return found.split() == expected.split()
