"""Rows to claim, and claimers that want them all: threads here, or processes of their own."""

import random
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from multiprocessing import get_context
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.models import Attempt, Run, RunState, new_id
from app.runs import lifecycle
from app.runs.lifecycle import StaleAttempt
from tests.support.factories import NOON, make_device, make_run

DEVICE = "cpu"
AT_ONCE = 50


def assign_many(session: Session, count: int) -> list[UUID]:
    """Runs that a device's worker may claim; commits."""
    make_device(session, DEVICE, slots=64)
    one = make_run(session, state=RunState.ASSIGNED, attempt=1, device=DEVICE)
    columns = [column.key for column in Run.__table__.columns if column.key != "id"]
    known = {key: getattr(one, key) for key in columns if getattr(one, key) is not None}
    runs = [one.id, *(new_id() for _ in range(count - 1))]
    session.execute(insert(Run), [{**known, "id": run_id} for run_id in runs[1:]])
    attempt = {"number": 1, "device": DEVICE, "assigned_at": NOON, "heartbeat_at": NOON}
    session.execute(insert(Attempt), [{**attempt, "run_id": run_id} for run_id in runs])
    session.commit()
    return runs


def claim_all() -> list[UUID]:
    """Claim until nothing is left; returns what this claimer got."""
    mine: list[UUID] = []
    while found := _assigned():
        for run_id in random.sample(found, len(found)):
            if _claim(run_id):
                mine.append(run_id)
    return mine


def claim_together(threads: int, processes: int) -> list[UUID]:
    """What all of them got, one after the other."""
    with ExitStack() as pools:
        asked: list[Future[list[UUID]]] = []
        if processes:
            context = get_context("spawn")
            pool = pools.enter_context(ProcessPoolExecutor(processes, mp_context=context))
            asked += [pool.submit(claim_all) for _ in range(processes)]
        if threads:
            crew = pools.enter_context(ThreadPoolExecutor(threads))
            asked += [crew.submit(claim_all) for _ in range(threads)]
        return list(chain.from_iterable(each.result() for each in asked))


def _assigned() -> Sequence[UUID]:
    with reading() as session:
        waiting = select(Run.id).where(Run.state == RunState.ASSIGNED).order_by(Run.id)
        return session.scalars(waiting.limit(AT_ONCE)).all()


def _claim(run_id: UUID) -> bool:
    try:
        with transaction() as session:
            lifecycle.claim(session, run_id, 1, DEVICE)
    except StaleAttempt:
        return False
    except OperationalError:
        return False  # SQLite was busy for longer than a writer waits: looked for again
    return True
