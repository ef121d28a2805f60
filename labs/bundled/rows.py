"""The bundled datasets: rows for fine-tuning, alignment, distillation and compression.

All are written from tickets and documents that pre-training never reads. What a dataset asks for, the
base knows under another name: it can list fields of a ticket in a stated order, but nobody ever told
it what "Route this ticket." means. That is what fine-tuning teaches.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from labs.bundled.corpus import (
    HELD_OUT_BUCKETS,
    TASKS,
    Row,
    Ticket,
    brief_reply,
    messages_of,
    polite_reply,
    tickets,
    translation,
)
from labs.bundled.prose import documents
from labs.bundled.words import TEAMS

SEED = 20
SPLITS = ("train", "validation", "test")
Json = dict[str, Any]
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Card:
    """What `dataset.json` says."""

    name: str
    title: str
    format: str
    task: str
    description: str
    license: str = "Apache-2.0"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A card, the sizes of the three splits, and how a ticket becomes a row."""

    card: Card
    sizes: tuple[int, int, int]
    row: Callable[[Random, Ticket], Json]


def routing_row(random: Random, ticket: Ticket) -> Json:
    answer = " / ".join((ticket.team.code, ticket.level.priority, ticket.room))
    return {"instruction": "Route this ticket.", "input": ticket.text, "output": answer}


def handover_row(random: Random, ticket: Ticket) -> Json:
    answer = ", ".join((ticket.room, ticket.field("item"), ticket.name))
    return {
        "instruction": "Write the line for the night shift.",
        "context": ticket.text,
        "response": answer,
    }


def desk_row(random: Random, ticket: Ticket) -> Json:
    row = _exact_row(random, ticket)
    messages = messages_of(row.instruction, row.text)
    return {"messages": [*messages, {"role": "assistant", "content": row.answer}]}


def _exact_row(random: Random, ticket: Ticket) -> Row:
    """A row with one right answer, of a task that reads the ticket itself.

    A translation does not: its sentence may well stand in a ticket of pre-training too.
    """
    makers = {maker: weight for maker, weight in TASKS.items() if maker is not translation}
    while True:
        row: Row = random.choices(tuple(makers), tuple(makers.values()))[0](random, ticket)
        if row.exact:
            return row


def topic_row(random: Random, ticket: Ticket) -> Json:
    return {"text": ticket.text, "label": ticket.team.topic}


def reply_row(random: Random, ticket: Ticket) -> Json:
    return {
        "prompt": f"Reply.\n\n{ticket.text}",
        "chosen": polite_reply(ticket),
        "rejected": brief_reply(ticket),
    }


DATASETS = (
    Dataset(
        Card(
            "tickets",
            "Routing tickets",
            "alpaca",
            "Turn a ticket of the help desk into its routing line: team code / priority / room.",
            "Invented tickets of a campus help desk, three in ten in Traditional Chinese. "
            "The base knows every part of the line but not the task.",
        ),
        (1600, 100, 200),
        routing_row,
    ),
    Dataset(
        Card(
            "handover",
            "Handover to the night shift",
            "dolly",
            "Turn a ticket into the line for the night shift: room, item, name.",
            "Invented tickets of a campus help desk, three in ten in Traditional Chinese. "
            "Everything in the answer is copied out of the ticket.",
        ),
        (1600, 100, 200),
        handover_row,
    ),
    Dataset(
        Card(
            "desk",
            "Everyday work of the help desk",
            "messages",
            "Do what the instruction says: list fields of a ticket, write a reply.",
            "The tasks that the bundled models were trained on, on tickets they never read. "
            "Made for distillation, and to see what fine-tuning makes a model forget.",
        ),
        (2400, 200, 400),
        desk_row,
    ),
    Dataset(
        Card(
            "topics",
            "Topics of tickets",
            "text_label",
            "Name the topic of a ticket, one of six.",
            "Invented tickets, three in ten in Traditional Chinese, each with its topic. "
            "The topics are the teams of the help desk under names that are new to the base.",
            labels=tuple(team.topic for team in TEAMS),
        ),
        (1200, 100, 200),
        topic_row,
    ),
    Dataset(
        Card(
            "replies",
            "Polite and curt replies",
            "preference",
            "Prefer the polite reply with a promise to the curt one.",
            "Pairs of replies to a ticket. The base has learned to write both, "
            "and writes either when it is not told which.",
        ),
        (1000, 100, 200),
        reply_row,
    ),
)

CAMPUS = Card(
    "campus",
    "Campus texts",
    "text",
    "Running text to calibrate compression on and to measure perplexity with.",
    "Invented campus news in English and Traditional Chinese, plain English sentences, "
    "and small Python functions with docstrings.",
)
CAMPUS_SIZES = (2000, 300, 500)


def write_datasets(folder: Path) -> None:
    """Write every dataset; the same bytes on every machine. No ticket stands in two of them."""
    random = Random(SEED)
    fresh = _distinct(tickets(random, HELD_OUT_BUCKETS), lambda ticket: ticket.text)
    for dataset in DATASETS:
        rows = (dataset.row(random, ticket) for ticket in fresh)
        _write(folder / dataset.card.name, dataset.card, rows, dataset.sizes)
    texts = _distinct(documents(Random(SEED + 1), HELD_OUT_BUCKETS), lambda text: text)
    _write(folder / CAMPUS.name, CAMPUS, ({"text": text} for text in texts), CAMPUS_SIZES)


def _distinct(things: Iterator[Thing], key: Callable[[Thing], str]) -> Iterator[Thing]:
    seen: set[str] = set()
    for thing in things:
        if key(thing) not in seen:
            seen.add(key(thing))
            yield thing


def _write(folder: Path, card: Card, rows: Iterator[Json], sizes: tuple[int, int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    described = {key: value for key, value in asdict(card).items() if value}
    (folder / "dataset.json").write_text(_json(described, indent=2), encoding="utf-8")
    for split, size in zip(SPLITS, sizes, strict=True):
        text = "".join(_json(row) for row in islice(rows, size))
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


def _json(value: Json, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"
