"""Two transactions, one of which stops before a chosen statement until the other has had its go."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from app import database
from app.database import transaction
from app.errors import Conflict

Deed = Callable[[Any], object]
# How long the other may take before it counts as waiting for a lock that the stopped one holds.
BLOCKED_SECONDS = 0.1
PATIENCE_SECONDS = 60


@dataclass(eq=False)
class Gate:
    """Stops its thread before its statement number `at`; the commit is a statement, too."""

    at: int
    seen: int = 0
    thread: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, *_: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        if self.seen == self.at:
            self.reached.set()
            assert self.opened.wait(PATIENCE_SECONDS)
        self.seen += 1


def interleave(first: Deed, second: Deed, at: int) -> tuple[bool, bool, bool]:
    """Run both, the second while the first stops before statement `at`.

    Returns:
        Whether the first had so many statements, and whether each was accepted.
    """
    gate, engine = Gate(at), database.get_engine()
    accepted: dict[str, bool | BaseException] = {}

    def carry_out(name: str, deed: Deed) -> None:
        if name == "first":
            gate.thread = threading.get_ident()
        try:
            with transaction() as session:
                deed(session)
            accepted[name] = True
        except Conflict:
            accepted[name] = False
        except BaseException as error:
            accepted[name] = error
        if name == "first":
            gate.reached.set()

    event.listen(engine, "before_cursor_execute", gate)
    event.listen(engine, "commit", gate)
    one = threading.Thread(target=carry_out, args=("first", first))
    other = threading.Thread(target=carry_out, args=("second", second))
    try:
        one.start()
        assert gate.reached.wait(PATIENCE_SECONDS)
        other.start()
        other.join(BLOCKED_SECONDS)
        gate.opened.set()
        one.join(PATIENCE_SECONDS)
        other.join(PATIENCE_SECONDS)
    finally:
        event.remove(engine, "before_cursor_execute", gate)
        event.remove(engine, "commit", gate)
    for outcome in accepted.values():
        if isinstance(outcome, BaseException):
            raise outcome
    return gate.seen > at, bool(accepted["first"]), bool(accepted["second"])
