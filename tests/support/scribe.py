"""A process that writes to the database without end, and notes what was acknowledged.

`python -m tests.support.scribe RUN FILE`. Transaction number n adds the metric row of step n;
each seventh also takes the run through the queue, into another attempt.
"""

import itertools
import os
import sys
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session

from app import database
from app.metrics import store
from app.metrics.store import MetricRow
from app.runs import lifecycle
from app.runs.reasons import reason_of
from labs.contract import Cause

EACH = 7


def write(run_id: UUID, acknowledged: int) -> None:
    engine = database.get_engine()
    # So that the log is copied into the database again and again.
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA wal_autocheckpoint=16"))
    attempt = 1
    for number in itertools.count(1):
        with database.transaction() as session:
            store.append(session, run_id, attempt, [MetricRow(number, 0.0, {"loss": 1 / number})])
            if number % EACH == 0:
                attempt = _next_attempt(session, run_id, attempt)
        os.write(acknowledged, b"%d\n" % number)


def _next_attempt(session: Session, run_id: UUID, attempt: int) -> int:
    lifecycle.requeue(session, run_id, attempt, Cause.PREEMPTED)
    number = lifecycle.assign(session, run_id, "cpu", reason_of("Placed."))
    lifecycle.claim(session, run_id, number, "cpu")
    return number


if __name__ == "__main__":
    opened = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    write(UUID(sys.argv[1]), opened)
