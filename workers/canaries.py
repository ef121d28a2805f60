"""A message to each device's worker now and then, that shows whether it hears the broker."""

from collections.abc import Sequence

from sqlalchemy import select, update

from app import broker, clock
from app.database import reading, transaction
from app.devices.health import is_silent
from app.models import Device

EVERY_SECONDS = 60.0


def send_all() -> int:
    """Send the next canary to every device whose worker lives; returns how many went out.

    One that the broker does not take says nothing about a worker's hearing and does not count.
    """
    sent = [(name, number) for name, number in _next() if broker.send_canary(number, name)]
    with transaction() as session:
        for name, number in sent:
            session.execute(update(Device).where(Device.name == name).values(canary_sent=number))
    return len(sent)


def _next() -> Sequence[tuple[str, int]]:
    now = clock.now()
    with reading() as session:
        devices = session.scalars(select(Device)).all()
    return [(each.name, each.canary_sent + 1) for each in devices if not is_silent(each, now)]
