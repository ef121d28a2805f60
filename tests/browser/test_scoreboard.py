"""A scoreboard in a browser: chosen, started, read on a phone, without scripts too."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.database import transaction
from app.models import RunState
from tests.support.factories import make_device
from tests.support.factories_boards import make_scoreboard
from tests.support.site import Site

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Page]
NAMES_OVERLAP = """() => {
  const shown = [...document.querySelectorAll(".front__name")].filter(each => each.getClientRects().length)
  const boxes = shown.map(each => each.getBoundingClientRect())
  return boxes.some((one, at) => boxes.slice(at + 1).some(other =>
    one.left < other.right && other.left < one.right && one.top < other.bottom - 2 && other.top < one.bottom - 2))
}"""


def test_methods_are_chosen_started_and_compared(open_tab: OpenTab, site: Site) -> None:
    with transaction() as session:
        make_device(session)
        states = {"p_tuning": RunState.FAILED}
        made = make_scoreboard(session, site.people["sam"], states=states).id
    page = open_tab("sam")
    page.goto("/labs")
    page.get_by_role("link", name="Compare all methods").click()
    expect(page.get_by_role("heading", name="9 runs")).to_be_visible()
    for name in ("Adapters", "Full fine-tuning"):
        page.get_by_label(name, exact=True).uncheck()
    expect(page.get_by_role("heading", name="7 runs")).to_be_visible()
    page.get_by_label("Learning rate of LoRA").fill("0.02")
    page.get_by_role("button", name="Start them all").click()
    expect(page.get_by_text("0 of 7 finished")).to_be_visible()
    expect(page.locator(".scoreboard tbody tr")).to_have_count(7)

    phone = open_tab("sam", width=390, javascript=False)
    phone.goto(f"/scoreboards/{made}?cost=memory")
    expect(phone.locator(".drawing__picture--slim")).to_be_visible()
    expect(phone.locator(".drawing__picture--broad")).to_be_hidden()
    phone.locator("#cost").select_option("latency")
    phone.get_by_role("button", name="Show", exact=True).click()
    expect(phone.locator("#tradeoff-words")).to_contain_text("On the front")
    assert "cost=latency" in phone.url

    page.goto(f"/scoreboards/{made}")
    assert not page.evaluate(NAMES_OVERLAP)
    page.locator("#cost").select_option("memory")
    page.wait_for_url("**cost=memory**")
    page.set_viewport_size({"width": 390, "height": 900})
    assert not page.evaluate(NAMES_OVERLAP)
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
