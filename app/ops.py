"""What the machinery around the site asks: alive, ready, counted, which version."""

import logging
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app import clock
from app.api.reply import Json
from app.database import get_engine
from app.devices.queries import is_silent, list_devices
from app.errors import Forbidden
from app.i18n import N_
from app.models import Role, Run, RunState
from app.security import Reader, find_actor
from app.settings import ROOT, get_settings

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)
router = APIRouter()

LOOPBACK = frozenset({"127.0.0.1", "::1"})
SOCKET = "redis+socket://"
PATIENCE_SECONDS = 0.5


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers, even when all its threads are busy."""
    return Json({"status": "ok"})


@router.get("/readyz")
def readyz() -> Response:
    """Whether requests can be served; without the broker they can, and runs start later."""
    database = _database_problem()
    parts = {
        "database": database or "ok",
        "broker": "ok" if _broker_answers() else "degraded",
    }
    status = "unavailable" if database else "ready"
    return Json({"status": status, **parts}, 503 if database else 200)


@router.get("/version")
def version() -> Response:
    return Json({"name": "bunsen", "version": own_version()})


@router.get("/metrics")
def metrics(request: Request, session: Reader) -> Response:
    """Counts for Prometheus; for this machine's own scraper and for admins."""
    if not _may_count(request):
        raise Forbidden(N_("Only this machine and admins may read the site's counts."))
    lines = "".join(f"{line}\n" for line in _lines(session))
    return PlainTextResponse(lines, media_type="text/plain; version=0.0.4")


@cache
def own_version() -> str:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(described["project"]["version"])


def _database_problem() -> str:
    # Alembic takes most of a second to import; pages need none of it.
    from app.migrate import Standing, standing

    try:
        found = standing(get_engine())
    except SQLAlchemyError as error:
        log.warning("the database does not answer: %s", error)
        return "unreachable"
    # What a newer release added does not hurt this one, which goes on until it is replaced.
    fits = found in (Standing.CURRENT, Standing.AHEAD)
    return "" if fits else "migrations missing: run `bunsen db upgrade`"


def _broker_answers() -> bool:
    url = get_settings().celery_broker_url
    if url.startswith("filesystem:"):
        return True
    patience = {
        "socket_timeout": PATIENCE_SECONDS,
        "socket_connect_timeout": PATIENCE_SECONDS,
    }
    # Imported when first asked: it would be a twentieth of the start of the web process.
    from redis.exceptions import RedisError

    try:
        with _client(url, patience) as client:
            return bool(client.ping())
    except (RedisError, OSError, ValueError):
        return False


def _client(url: str, patience: dict[str, Any]) -> "Redis":
    from redis import Redis

    if url.startswith(SOCKET):
        return Redis(unix_socket_path=url.removeprefix(SOCKET), **patience)
    return Redis.from_url(url, **patience)


def _may_count(request: Request) -> bool:
    proxied = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    here = request.client is not None and request.client.host in LOOPBACK
    if here and not proxied:
        return True
    actor = find_actor(request)
    return actor is not None and actor.role is Role.ADMIN


def _lines(session: Session) -> Iterator[str]:
    now = clock.now()
    rows = session.execute(select(Run.state, func.count()).group_by(Run.state)).all()
    counted = {row[0]: row[1] for row in rows}
    yield "# HELP bunsen_runs Runs by state."
    yield "# TYPE bunsen_runs gauge"
    for state in RunState:
        yield f'bunsen_runs{{state="{state.value}"}} {counted.get(state, 0)}'
    oldest = session.scalar(select(func.min(Run.queued_at)).where(Run.state == RunState.QUEUED))
    waited = (now - oldest).total_seconds() if oldest else 0
    yield "# HELP bunsen_queue_oldest_seconds How long the oldest waiting run waits."
    yield "# TYPE bunsen_queue_oldest_seconds gauge"
    yield f"bunsen_queue_oldest_seconds {waited:.3f}"
    yield from _device_lines(session)
    yield "# HELP bunsen_disk_free_bytes Free bytes where the data lies."
    yield "# TYPE bunsen_disk_free_bytes gauge"
    yield f"bunsen_disk_free_bytes {shutil.disk_usage(get_settings().home).free}"


def _device_lines(session: Session) -> Iterator[str]:
    now = clock.now()
    devices = list_devices(session)
    yield "# HELP bunsen_device_up Whether a device's worker is heard of."
    yield "# TYPE bunsen_device_up gauge"
    for device in devices:
        yield f"bunsen_device_up{_labels(device.name)} {int(not is_silent(device, now))}"
    for key in ("use_fraction", "memory_used_bytes", "temperature_celsius", "power_watts"):
        readings = [(each.name, each.telemetry.get(key)) for each in devices]
        yield f"# TYPE bunsen_device_{key} gauge"
        for name, value in readings:
            if value is not None:
                yield f"bunsen_device_{key}{_labels(name)} {value}"


def _labels(device: str) -> str:
    escaped = device.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{device="{escaped}"}}'
