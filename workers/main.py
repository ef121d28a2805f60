"""The Celery side of a device's worker: hears its bells and canaries, in a thread of its own.

Nothing depends on it: the desk looks for runs by itself. A broker that is away, empty or
half open makes runs start two seconds later, and nothing else.
"""

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import Celery
from celery.exceptions import SecurityWarning

from app import broker

log = logging.getLogger(__name__)
PAUSE_SECONDS = 5.0


def worker_app(on_bell: Callable[[UUID, int], Any], on_canary: Callable[[int], None]) -> Celery:
    """The application whose tasks pass on what was heard, and do nothing else."""
    app = broker.celery_app()

    @app.task(name=broker.TASK)  # type: ignore[untyped-decorator]
    def attempt(run_id: str, number: int) -> None:
        on_bell(UUID(run_id), number)

    @app.task(name=broker.CANARY)  # type: ignore[untyped-decorator]
    def canary(number: int) -> None:
        on_canary(number)

    return app


def listen(app: Celery, device: str) -> None:
    """Hear what is sent to a device until this process ends."""
    threading.Thread(target=_keep_listening, args=(app, device), name="ear", daemon=True).start()


def _keep_listening(app: Celery, device: str) -> None:
    # It warns root of pickled messages; ours are JSON, and nothing else is accepted.
    warnings.simplefilter("ignore", SecurityWarning)
    # A line for each message is noise: the runs themselves are told of by their supervisors.
    logging.getLogger("celery").setLevel(logging.WARNING)
    while True:
        try:
            _consumer(app, device).start()
        except Exception:
            # The border of this thread: without it the worker is slower, not broken.
            log.exception("%s: stopped listening", device)
        threading.Event().wait(PAUSE_SECONDS)


def _consumer(app: Celery, device: str) -> Any:
    """Celery's worker without its signal handlers: those are the main thread's, and ours."""
    return app.WorkController(
        pool="solo",
        concurrency=1,
        queues=[broker.queue_name(device)],
        hostname=f"{device}@bunsen",
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
