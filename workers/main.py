"""The Celery application of a device's worker: one queue, one task, one thread for each slot."""

import warnings
from collections.abc import Callable
from uuid import UUID

from celery import Celery
from celery.exceptions import SecurityWarning

from app import broker

CarryOut = Callable[[UUID, int], None]


def worker_app(carry_out: CarryOut) -> Celery:
    """The application whose one task looks at an attempt."""
    app = broker.celery_app()

    @app.task(name=broker.TASK)  # type: ignore[untyped-decorator]
    def attempt(run_id: str, number: int) -> None:
        carry_out(UUID(run_id), number)

    return app


def consume(app: Celery, device: str, slots: int) -> int:
    """Answer the bells of a device until SIGTERM; returns the exit code."""
    # It warns root of pickled messages; ours are JSON, and nothing else is accepted.
    warnings.simplefilter("ignore", SecurityWarning)
    worker = app.Worker(
        pool="threads",
        concurrency=slots,
        queues=[broker.queue_name(device)],
        hostname=f"{device}@bunsen",
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
