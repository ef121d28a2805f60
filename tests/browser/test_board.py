"""The board of a class that is at work."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.database import transaction
from app.models import Classroom
from app.runs.reasons import reason_of
from tests.support.factories import make_run
from tests.support.site import Site

pytestmark = pytest.mark.browser

MANY = 30


def test_a_long_line_scrolls_in_its_own_card(open_tab: Callable[..., Page], site: Site) -> None:
    with transaction() as session:
        monday = session.scalars(select(Classroom).where(Classroom.name == "Monday")).one().id
        for place in range(1, MANY + 1):
            reason = reason_of("Ahead in line: {ahead}.", ahead=place - 1)
            sam = site.people["sam"]
            make_run(session, sam, classroom_id=monday, position=place, reason=reason)
    page = open_tab("maria")
    page.goto(f"/classrooms/{monday}")
    expect(page.get_by_role("button", name="Move up")).to_have_count(MANY)
    assert page.evaluate("document.documentElement.scrollHeight <= document.body.offsetHeight")


def test_a_name_that_turns_its_text_around_turns_no_other(
    open_tab: Callable[..., Page], site: Site
) -> None:
    with transaction() as session:
        monday = session.scalars(select(Classroom).where(Classroom.name == "Monday")).one().id
        make_run(session, site.people["sam"], classroom_id=monday, name="\u202eturned", position=1)
    page = open_tab("maria")
    page.goto(f"/classrooms/{monday}")
    link = page.get_by_role("link", name="turned").first
    assert link.evaluate("link => getComputedStyle(link).unicodeBidi") == "isolate"


def test_the_newest_run_has_room_in_chinese_too(open_tab: Callable[..., Page], site: Site) -> None:
    with transaction() as session:
        monday = session.scalars(select(Classroom).where(Classroom.name == "Monday")).one().id
        make_run(session, site.people["sam"], classroom_id=monday)
    page = open_tab("maria", width=375)
    page.goto(f"/classrooms/{monday}")
    cell = page.locator(".people__newest").first
    narrow = cell.evaluate("cell => cell.offsetWidth")
    page.evaluate("document.documentElement.lang = 'zh-Hant'")
    assert cell.evaluate("cell => cell.offsetWidth") >= narrow
