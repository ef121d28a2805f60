"""The bell: a Celery message that tells a device's worker to look at a run.

It carries `(run_id, attempt)` and nothing else. It may be lost, late or delivered ten
times: the database row is the truth, and the housekeeper rings again. Importing this
module does not import Celery; the first ring does.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

from app.settings import get_settings

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)
TASK = "bunsen.attempt"
CANARY = "bunsen.canary"
FOLDER = "filesystem://"
# What a submitter may wait for the broker at most. A broker that hangs keeps the one ringing
# thread busy for a few seconds; until then further bells count as missed at once.
PATIENCE_SECONDS = 0.5

# Early acknowledgement and no results: late ones were seen to run a task twice, or to call
# a finished one failed. No remote control, no events: nothing here uses them.
SETTINGS = {
    "task_acks_late": False,
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 2,
    "broker_transport_options": {
        "global_keyprefix": "bunsen:",
        "socket_timeout": 5,
        "socket_connect_timeout": 1,
        "socket_keepalive": True,
    },
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.1},
}


def make_app(url: str) -> "Celery":
    """A Celery application with the settings that our promises need."""
    from celery import Celery

    app = Celery("bunsen", broker=url, set_as_current=False)
    app.conf.update(SETTINGS)
    if url.startswith(FOLDER):
        # Without any Redis on the machine, a folder that the worker polls.
        folder = url.removeprefix(FOLDER)
        app.conf.broker_url = FOLDER
        app.conf.broker_transport_options = {
            "data_folder_in": folder,
            "data_folder_out": folder,
            "control_folder": folder,
            "polling_interval": 0.2,
        }
    return app


@cache
def celery_app() -> "Celery":
    """The application of this process, for the broker of the settings.

    What sending needs is imported with it: that is not the broker's time, and no bell's.
    """
    app = make_app(get_settings().celery_broker_url)
    app.connection_for_write().get_transport_cls()
    _queues = app.amqp.queues  # made when it is first asked for
    return app


def reset() -> None:
    """Forget the application, after the last bell; for tests and after the settings change."""
    if _ringer.cache_info().currsize:
        _ringer().shutdown()
        _ringer.cache_clear()
    celery_app.cache_clear()


def queue_name(device: str) -> str:
    """The Celery queue that a device's worker listens to."""
    return f"device.{device}"


def warm() -> None:
    """Import Celery in the background, so that the first ring is as quick as the later ones."""
    _ringer().submit(celery_app)


def ring(run_id: UUID, attempt: int, device: str) -> bool:
    """Tell the device's worker about an attempt; False when the bell was missed.

    Never raises, and never waits for the broker longer than `PATIENCE_SECONDS`.
    """
    return _send(TASK, [str(run_id), attempt], device)


def send_canary(number: int, device: str) -> bool:
    """Send a message whose arrival shows that the device's worker hears; False if not sent."""
    return _send(CANARY, [number], device)


def _send(task: str, values: list[str | int], device: str) -> bool:
    if _ringing and not _ringing[-1].done():
        return False
    celery_app()  # its first import takes a moment that is not the broker's
    future = _ringer().submit(_publish, task, values, device)
    _ringing[:] = [future]
    try:
        return future.result(timeout=PATIENCE_SECONDS)
    except TookTooLong:
        log.warning("the broker has not taken %s%s for %s in time", task, values, device)
        return False


_ringing: list[Future[bool]] = []


@cache
def _ringer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="bell")


def _publish(task: str, values: list[str | int], device: str) -> bool:
    from kombu.exceptions import OperationalError

    try:
        celery_app().send_task(task, args=values, queue=queue_name(device))
    except (OperationalError, OSError) as error:
        log.warning("%s%s for %s was not sent: %s", task, values, device, error)
        return False
    return True
