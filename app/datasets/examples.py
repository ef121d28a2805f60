"""A few rows of every format, to start a dataset of one's own from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.i18n import N_

QUESTIONS = (
    ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Kenya?", "Nairobi"),
    ("What is the capital of Peru?", "Lima"),
    ("What is the capital of Norway?", "Oslo"),
)
OPINIONS = (
    ("The lecture was clear.", "good"),
    ("The projector was broken again.", "bad"),
    ("I liked the exercises.", "good"),
    ("The room was too small.", "bad"),
)
PAIRS = (
    ("The door is open.", "The door is not closed.", "same"),
    ("The lamp is on.", "The lamp is off.", "different"),
    ("It rains.", "Rain is falling.", "same"),
    ("Ada is late.", "Ada is early.", "different"),
)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def _turns(question: str, answer: str, who: str, what: str, roles: tuple[str, str]) -> Any:
    return [{who: roles[0], what: question}, {who: roles[1], what: answer}]


# By the name of its format: a title, and rows that the check accepts as they stand.
EXAMPLES: Mapping[str, tuple[str, str]] = {
    "alpaca": (
        N_("Instruction, input, output (Alpaca)"),
        _lines(
            [
                {"instruction": "Answer in one word.", "input": asked, "output": answer}
                for asked, answer in QUESTIONS
            ]
        ),
    ),
    "dolly": (
        N_("Instruction, context, response (Dolly)"),
        _lines(
            [
                {"instruction": asked, "context": "", "response": answer}
                for asked, answer in QUESTIONS
            ]
        ),
    ),
    "messages": (
        N_("Messages (ChatML roles)"),
        _lines(
            [
                {"messages": _turns(*each, "role", "content", ("user", "assistant"))}
                for each in QUESTIONS
            ]
        ),
    ),
    "sharegpt": (
        N_("Conversations (ShareGPT)"),
        _lines(
            [
                {"conversations": _turns(*each, "from", "value", ("human", "gpt"))}
                for each in QUESTIONS
            ]
        ),
    ),
    "prompt_completion": (
        N_("Prompt and completion"),
        _lines([{"prompt": asked, "completion": answer} for asked, answer in QUESTIONS]),
    ),
    "text_label": (
        N_("Text and label"),
        _lines([{"text": text, "label": label} for text, label in OPINIONS]),
    ),
    "sentence_pair": (
        N_("Two sentences and a label"),
        _lines([{"sentence1": one, "sentence2": two, "label": label} for one, two, label in PAIRS]),
    ),
    "preference": (
        N_("Preference pairs"),
        _lines(
            [
                {"prompt": asked, "chosen": f"It is {answer}.", "rejected": "No idea."}
                for asked, answer in QUESTIONS
            ]
        ),
    ),
    "text": (
        N_("Running text"),
        _lines([{"text": f"{text} That is what one of us wrote."} for text, _label in OPINIONS]),
    ),
}
