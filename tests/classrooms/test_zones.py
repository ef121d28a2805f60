"""The form for lab sessions in a browser far from Greenwich."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from app.database import reading
from app.models import Classroom, ClassSession
from tests.support.site import Site, served, two_classes


@pytest.fixture
def site(sqlite_url: str) -> Site:
    return two_classes()


@pytest.mark.parametrize(
    ("zone", "ahead"), [("Asia/Taipei", 8), ("America/New_York", -4), ("Europe/Berlin", 2)]
)
def test_hours_mean_what_the_clock_on_the_wall_says_that_day(
    site: Site, browser: Browser, zone: str, ahead: int
) -> None:
    """In July, whatever the season is now."""
    with reading() as session:
        monday = session.scalars(select(Classroom.id).where(Classroom.name == "Monday")).one()
    with served(site.app) as address:
        context = browser.new_context(timezone_id=zone)
        page = context.new_page()
        page.goto(f"{address}/enter/{site.link('maria')}")
        page.goto(f"{address}/classrooms/{monday}/sessions")
        expect(page.locator("own-zone")).to_have_text(zone)
        page.fill("#day", "2031-07-01")
        page.fill("#from", "09:00")
        page.fill("#until", "12:00")
        page.get_by_role("button", name="Schedule").click()
        expect(page.locator("time").first).to_have_text(re.compile(r"^Jul 1, 2031, 9:00\sAM$"))
        expect(page.locator("time").nth(1)).to_have_text(re.compile(r"^12:00\sPM$"))
        context.close()
    with reading() as session:
        made = session.scalars(select(ClassSession)).one()
    assert made.starts_at + timedelta(hours=ahead) == made.starts_at.replace(hour=9)
    assert made.ends_at - made.starts_at == timedelta(hours=3)
