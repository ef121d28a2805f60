"""The shapes a dataset row can have, each read into the same `Example`. Imports no torch."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from labs.contract import N_

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {
    **{"system": "system", "user": "user", "assistant": "assistant"},
    **{"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant"},
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """What a model is given and what it should say.

    Running text has no prompt, and its text is the answer. A preference pair has the
    chosen reply as its answer and the other one in `rejected`.
    """

    prompt: tuple[Message, ...]
    answer: str
    rejected: str = ""


class Mismatch(Exception):
    """A row that does not have the shape of its format."""

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.values = values


Row = dict[str, Any]
Labels = Sequence[str]


@dataclass(frozen=True, slots=True)
class Format:
    """A shape of rows. The first format all of whose `columns` a row has is its format.

    Of other columns only those in `optional` are read.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    read: Callable[[Row, Labels], Example]
    optional: tuple[str, ...] = ()


def recognise(row: Container[str]) -> Format | None:
    """The format of a row, or of the names of its columns, or None."""
    return next((f for f in FORMATS if all(column in row for column in f.columns)), None)


def _messages(row: Row, labels: Labels) -> Example:
    return _conversation(row["messages"], role="role", content="content")


def _sharegpt(row: Row, labels: Labels) -> Example:
    return _conversation(row["conversations"], role="from", content="value")


def _conversation(turns: Any, role: str, content: str) -> Example:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise Mismatch("The conversation is not a list of messages.")
    messages = [_turn(turn, role, content) for turn in turns]
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise Mismatch("The conversation does not end with a reply of the assistant.")
    return _example(messages[:-1], messages[-1].content)


def _turn(turn: Row, role: str, content: str) -> Message:
    stated = turn.get(role)
    if not isinstance(stated, str) or stated not in ROLES:
        raise Mismatch(
            "“{value}” is not a role. Roles are: {known}.",
            value=str(stated)[:40],
            known=", ".join(ROLES),
        )
    return Message(ROLES[stated], _string(turn, content))


def _preference(row: Row, labels: Labels) -> Example:
    if isinstance(row["chosen"], list):
        return _preference_conversations(row)
    prompt = [Message("user", _string(row, "prompt"))] if "prompt" in row else []
    chosen, rejected = _string(row, "chosen"), _string(row, "rejected")
    return _pair(prompt, chosen, rejected)


def _preference_conversations(row: Row) -> Example:
    chosen = _conversation(row["chosen"], role="role", content="content")
    rejected = _conversation(row["rejected"], role="role", content="content")
    if chosen.prompt != rejected.prompt:
        raise Mismatch("The chosen and the rejected conversation differ before their last reply.")
    return _pair(list(chosen.prompt), chosen.answer, rejected.answer)


def _pair(prompt: list[Message], chosen: str, rejected: str) -> Example:
    if chosen.strip() == rejected.strip():
        raise Mismatch("The chosen and the rejected reply are the same.")
    if not rejected.strip():
        raise Mismatch("The column “{column}” is empty.", column="rejected")
    return _example(prompt, chosen, rejected)


def _alpaca(row: Row, labels: Labels) -> Example:
    return _instruction(row, context="input", answer="output")


def _dolly(row: Row, labels: Labels) -> Example:
    return _instruction(row, context="context", answer="response")


def _instruction(row: Row, context: str, answer: str) -> Example:
    more = _string(row, context) if row.get(context) is not None else ""
    asked = _string(row, "instruction")
    prompt = f"{asked}\n\n{more}" if more.strip() else asked
    return _example([Message("user", prompt)], _string(row, answer))


def _prompt_completion(row: Row, labels: Labels) -> Example:
    if isinstance(row["prompt"], list) and isinstance(row["completion"], list):
        turns = [*row["prompt"], *row["completion"]]
        return _conversation(turns, role="role", content="content")
    return _example([Message("user", _string(row, "prompt"))], _string(row, "completion"))


def _sentence_pair(row: Row, labels: Labels) -> Example:
    prompt = f"{_string(row, 'sentence1')}\n\n{_string(row, 'sentence2')}"
    return _example([Message("user", prompt)], _label(row, labels))


def _text_label(row: Row, labels: Labels) -> Example:
    return _example([Message("user", _string(row, "text"))], _label(row, labels))


def _sentence_label(row: Row, labels: Labels) -> Example:
    return _example([Message("user", _string(row, "sentence"))], _label(row, labels))


def _text(row: Row, labels: Labels) -> Example:
    return _example([], _string(row, "text"))


def _label(row: Row, labels: Labels) -> str:
    """The label's name: as written, or from the dataset's list when it is a number."""
    value = row["label"]
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Mismatch("The column “{column}” is neither text nor a whole number.", column="label")
    if not labels and value >= 0:
        return str(value)
    if not labels:
        raise Mismatch("The label {label} stands for no class: labels count from 0.", label=value)
    if not 0 <= value < len(labels):
        last = len(labels) - 1
        message = N_("The label {label} has no name: labels go from 0 to {last}.")
        raise Mismatch(message, label=value, last=last)
    return labels[value]


def with_named_label(row: Row, labels: Labels) -> Row:
    """The row with its numbered label replaced by the name that goes with it, if there are names.

    Raises:
        Mismatch: If the number has no name.
    """
    if labels and "label" in row and not isinstance(row["label"], str):
        return {**row, "label": _label(row, labels)}
    return row


def _example(prompt: Sequence[Message], answer: str, rejected: str = "") -> Example:
    if not answer.strip():
        raise Mismatch("The answer is empty.")
    if prompt and not prompt[-1].content.strip():
        raise Mismatch("The prompt is empty.")
    return Example(tuple(prompt), answer, rejected)


def _string(row: Row, column: str) -> str:
    if column not in row:
        raise Mismatch("The column “{column}” is missing.", column=column)
    if not isinstance(row[column], str):
        raise Mismatch("The column “{column}” is not text.", column=column)
    return str(row[column])


# Order matters: a row is of the first format whose columns it has.
FORMATS = (
    Format("messages", "Messages (ChatML roles)", ("messages",), _messages),
    Format("sharegpt", "Conversations (ShareGPT)", ("conversations",), _sharegpt),
    Format("preference", "Preference pairs", ("chosen", "rejected"), _preference, ("prompt",)),
    Format(
        "alpaca",
        "Instruction, input, output (Alpaca)",
        ("instruction", "output"),
        _alpaca,
        ("input",),
    ),
    Format(
        "dolly",
        "Instruction, context, response (Dolly)",
        ("instruction", "response"),
        _dolly,
        ("context",),
    ),
    Format(
        "prompt_completion", "Prompt and completion", ("prompt", "completion"), _prompt_completion
    ),
    Format(
        "sentence_pair",
        "Two sentences and a label",
        ("sentence1", "sentence2", "label"),
        _sentence_pair,
    ),
    Format("text_label", "Text and label", ("text", "label"), _text_label),
    Format("text_label", "Sentence and label", ("sentence", "label"), _sentence_label),
    Format("text", "Running text", ("text",), _text),
)
SUPERVISED = frozenset(f.name for f in FORMATS) - {"preference", "text"}
LABELLED = frozenset({"sentence_pair", "text_label"})
