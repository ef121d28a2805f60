"""Where the prompt ends, what is learned, what is cut."""

from hypothesis import given, settings
from hypothesis import strategies as st

from labs.common.formatting import encode, encode_prompt, render_prompt, template_name
from labs.datasets import Example, Message
from tests.labs.tiny import CHAT_TEMPLATE, make_tokenizer

TOKENIZER = make_tokenizer()
PLAIN = make_tokenizer(chat_template=None)
END = 2


def example(prompt: str, answer: str) -> Example:
    return Example((Message("user", prompt),), answer)


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=20))
def test_the_mask_covers_exactly_what_inference_is_given(prompt: str, answer: str) -> None:
    row = encode(TOKENIZER, example(prompt, answer), max_length=2000)
    assert row.ids[: row.prompt_length] == encode_prompt(TOKENIZER, example(prompt, answer).prompt)
    learned = TOKENIZER.decode(list(row.ids[row.prompt_length :]))
    assert learned == f"{answer}<|im_end|>"


def test_the_end_token_is_learned_and_nothing_behind_it() -> None:
    row = encode(TOKENIZER, example("a", "b"), max_length=64)
    assert row.ids[-1] == END
    assert row.targets == 2


def test_without_a_chat_template_the_plain_one_is_named_and_ends_too() -> None:
    row = encode(PLAIN, example("Say b.", "b"), max_length=64)
    assert template_name(PLAIN) == "plain"
    assert (
        render_prompt(PLAIN, example("Say b.", "b").prompt)
        == "### User:\nSay b.\n\n### Assistant:\n"
    )
    assert PLAIN.decode(list(row.ids[row.prompt_length :])) == "b<|im_end|>"


def test_running_text_is_learned_whole() -> None:
    row = encode(TOKENIZER, Example((), "abc"), max_length=64)
    assert (row.prompt_length, len(row.ids), row.ids[-1]) == (0, 4, END)
    # The first token has nothing before it to be predicted from.
    assert row.targets == 3


def test_a_long_prompt_loses_its_beginning_and_keeps_its_answer() -> None:
    row = encode(TOKENIZER, example("x" * 100, "right"), max_length=24)
    whole = encode(TOKENIZER, example("x" * 100, "right"), max_length=1000)
    assert row.truncated
    assert not whole.truncated
    assert row.ids == whole.ids[-24:]
    assert row.targets == whole.targets == len("right") + 1


def test_only_an_answer_too_long_by_itself_is_cut() -> None:
    row = encode(TOKENIZER, example("q", "y" * 50), max_length=10)
    assert (len(row.ids), row.prompt_length) == (10, 0)
    assert END not in row.ids


def test_earlier_turns_are_given_and_only_the_last_reply_is_learned() -> None:
    turns = (
        Message("system", "s"),
        Message("user", "one"),
        Message("assistant", "1"),
        Message("user", "two"),
    )
    row = encode(TOKENIZER, Example(turns, "2"), max_length=400)
    assert TOKENIZER.decode(list(row.ids[row.prompt_length :])) == "2<|im_end|>"
    assert "assistant" in CHAT_TEMPLATE
    assert "1<|im_end|>" in TOKENIZER.decode(list(row.ids[: row.prompt_length]))
