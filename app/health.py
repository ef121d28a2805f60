"""`python -m app.health web|database|DEVICE`: the health check of a container, by its exit code."""

import socket
import sys
from datetime import timedelta
from urllib.error import URLError
from urllib.request import urlopen

from sqlalchemy import func, or_, select, text

from app import clock
from app.database import reading
from app.models import Device

SILENT_AFTER = timedelta(seconds=60)


def web(url: str = "http://127.0.0.1:8000/healthz") -> bool:
    try:
        with urlopen(url, timeout=4) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def database() -> bool:
    with reading() as session:
        return bool(session.scalar(text("SELECT 1")) == 1)


def device(name: str) -> bool:
    """Whether the worker of this device has given a sign of life lately."""
    # On a second machine a device of a name that is taken is called NAME@host.
    named = or_(Device.name == name, Device.name.startswith(f"{name}@", autoescape=True))
    ours = Device.host == socket.gethostname()[:255]
    with reading() as session:
        beat = session.scalar(select(func.max(Device.heartbeat_at)).where(named, ours))
    return bool(beat is not None and clock.now() - beat < SILENT_AFTER)


if __name__ == "__main__":
    subject = sys.argv[1]
    checks = {"web": web, "database": database}
    sys.exit(0 if checks.get(subject, lambda: device(subject))() else 1)
