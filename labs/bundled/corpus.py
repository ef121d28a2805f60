"""The tickets of the help desk, and the tasks on them that the base model is taught.

Every ticket falls by the hash of its text into one of ten buckets. Pre-training sees buckets 0 to 6
only; the datasets for fine-tuning and for evaluation are written from buckets 7 to 9, so no model
has read a ticket that it is later asked about.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from labs.bundled.words import (
    GIVEN_NAMES,
    LEVELS,
    NAMES,
    SEPARATORS,
    SURNAMES,
    TEAMS,
    Level,
    Team,
    Word,
)

PRETRAINING_BUCKETS = range(7)
HELD_OUT_BUCKETS = range(7, 10)
FIELDS = ("team", "code", "urgency", "priority", "room", "name", "item")
KEPT_FOR_FINE_TUNING = ({"code", "priority", "room"}, {"name", "room", "item"})
SYSTEM = "You are the help desk of the campus."


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one person reports; `text` is what they wrote, the rest is what it means."""

    text: str
    team: Team
    level: Level
    thing: Word
    fault: Word
    room: str
    name: str
    chinese: bool

    def field(self, name: str) -> str:
        return {
            "team": self.team.name,
            "code": self.team.code,
            "urgency": self.level.urgency,
            "priority": self.level.priority,
            "room": self.room,
            "name": self.name,
            "item": self.thing.zh if self.chinese else self.thing.en,
        }[name]


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction, what it is about, and the answer; `exact` when only one answer is right."""

    task: str
    instruction: str
    text: str
    answer: str
    exact: bool = True


ENGLISH = (
    "The {thing} in room {room} {fault}. {clue} {name}",
    "Room {room}: the {thing} {fault}. {clue} Thanks, {name}",
    "This is {name} in room {room}. The {thing} {fault}. {clue}",
    "Hello, {name} here. Our {thing} {fault}. {clue} Room {room}.",
    "{clue} The {thing} {fault}. I am in room {room}. {name}",
    "Dear team, the {thing} of {name} {fault}. {clue} We sit in room {room}.",
)
CHINESE = (
    "{room} 教室的{thing}{fault}。{clue}{name}",
    "我是{name},在 {room} 教室。{thing}{fault}。{clue}",
    "您好,{thing}{fault}。{clue}地點是 {room},聯絡人{name}。",
    "{clue}{room} 的{thing}{fault},請找{name}。",
)


def make_ticket(random: Random, chinese: bool | None = None) -> Ticket:
    """Invent one ticket; three in ten are Chinese unless the caller decides."""
    if chinese is None:
        chinese = random.random() < 0.3
    team, level = random.choice(TEAMS), random.choice(LEVELS)
    thing, fault, clue = (random.choice(list_) for list_ in (team.things, team.faults, level.clues))
    room = str(random.randrange(100, 1000))
    if chinese:
        name = random.choice(SURNAMES) + random.choice(GIVEN_NAMES)
        values = {"thing": thing.zh, "fault": fault.zh, "clue": clue.zh}
    else:
        name = random.choice(NAMES)
        values = {"thing": thing.en, "fault": fault.en, "clue": clue.en}
    template = random.choice(CHINESE if chinese else ENGLISH)
    text = template.format(room=room, name=name, **values)
    return Ticket(text, team, level, thing, fault, room, name, chinese)


def bucket(text: str) -> int:
    """The bucket of a ticket, 0 to 9; the same on every machine."""
    return hashlib.sha256(text.encode()).digest()[0] % 10


def tickets(random: Random, buckets: range, chinese: bool | None = None) -> Iterator[Ticket]:
    """An endless stream of tickets out of the given buckets; a text can come again."""
    while True:
        ticket = make_ticket(random, chinese)
        if bucket(ticket.text) in buckets:
            yield ticket


def pretraining_rows(random: Random, buckets: range = PRETRAINING_BUCKETS) -> Iterator[Row]:
    """An endless stream of rows of every task that the base is taught."""
    makers, weights = zip(*TASKS.items(), strict=True)
    for ticket in tickets(random, buckets):
        yield random.choices(makers, weights)[0](random, ticket)


def messages_of(instruction: str, text: str, system: str = "") -> list[dict[str, str]]:
    """The prompt of a row as chat messages, the instruction first."""
    user = {"role": "user", "content": f"{instruction}\n\n{text}" if text else instruction}
    return [{"role": "system", "content": system}, user] if system else [user]


def one_field(random: Random, ticket: Ticket) -> Row:
    field = random.choice(FIELDS)
    wording = random.choice(("Give the {}.", "What is the {}?", "Find the {}."))
    return Row("one field", wording.format(field), ticket.text, ticket.field(field))


def several_fields(random: Random, ticket: Ticket) -> Row:
    fields = random.sample(FIELDS, random.choice((2, 3)))
    while set(fields) in KEPT_FOR_FINE_TUNING:
        fields = random.sample(FIELDS, 3)
    separator = random.choice(tuple(SEPARATORS))
    instruction = f"List {', '.join(fields)} with {separator}."
    answer = SEPARATORS[separator].join(ticket.field(field) for field in fields)
    return Row(f"{len(fields)} fields", instruction, ticket.text, answer)


def translation(random: Random, ticket: Ticket) -> Row:
    english = f"The {ticket.thing.en} in room {ticket.room} {ticket.fault.en}."
    chinese = f"{ticket.room} 教室的{ticket.thing.zh}{ticket.fault.zh}。"
    if random.random() < 0.5:
        return Row("translation", "Translate into Chinese.", english, chinese)
    return Row("translation", "Translate into English.", chinese, english)


def reply(random: Random, ticket: Ticket) -> Row:
    style = random.choice(("politely", "briefly", ""))
    texts = {"politely": polite_reply(ticket), "briefly": brief_reply(ticket)}
    answer = texts.get(style) or random.choice(tuple(texts.values()))
    instruction = f"Reply {style}.".replace(" .", ".")
    return Row("reply", instruction, ticket.text, answer, exact=bool(style))


def polite_reply(ticket: Ticket) -> str:
    item = ticket.field("item")
    return (
        f"Dear {ticket.name}, thank you. We will check the {item} "
        f"in room {ticket.room} {ticket.level.promise}."
    )


def brief_reply(ticket: Ticket) -> str:
    return f"Noted. {ticket.room}, {ticket.field('item')}."


TASKS = {one_field: 0.35, several_fields: 0.4, translation: 0.1, reply: 0.15}
