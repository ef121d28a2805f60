"""The queue on a phone: nothing has to be pushed aside to reach a button."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from app import clock
from app.database import transaction
from app.models import RunState
from app.runs.reasons import reason_of
from tests.support.factories import make_device, make_run
from tests.support.site import Site

pytestmark = pytest.mark.browser

LONG = "a name of the longest kind that a student who is in a hurry gives to a run"


@pytest.mark.parametrize("width", [360, 390])
def test_the_buttons_of_a_line_are_in_reach_on_a_phone(
    open_tab: Callable[..., Page], site: Site, width: int
) -> None:
    now = clock.now()
    started = {"device": "cpu", "assigned_at": now, "started_at": now, "attempt": 1}
    with transaction() as session:
        make_device(session, heartbeat_at=now)
        sam = site.people["sam"]
        reason = reason_of("Ahead in line: {ahead}.", ahead=9999)
        make_run(session, sam, name=LONG, position=10_000, reason=reason)
        make_run(session, sam, name=LONG, state=RunState.RUNNING, **started)
        make_run(session, sam, name=LONG, state=RunState.HELD, reason=reason)
    page = open_tab("maria", width=width)
    page.goto("/queue")
    assert page.get_by_text("Cancel").count() == 3
    for button in page.locator(".queue__deeds :is(a, button)").all():
        box = button.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    for table in page.locator(".table-scroll").all():
        assert table.evaluate("table => table.scrollWidth <= table.clientWidth")
