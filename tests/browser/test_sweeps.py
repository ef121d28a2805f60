"""A sweep in a browser: the form helps while one chooses, the page shows what came of it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.database import transaction
from app.models import RunState
from tests.support.factories import make_device
from tests.support.factories_groups import make_sweep
from tests.support.site import Site

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Page]


def test_a_sweep_is_set_up_started_read_and_cancelled(open_tab: OpenTab, site: Site) -> None:
    with transaction() as session:
        make_device(session, ready=False)
        vary = {"learning_rate": [0.001, 0.003, 0.01]}
        done = make_sweep(session, site.people["sam"], vary, {1: RunState.FAILED})
    page = open_tab("sam", width=390)

    page.goto("/labs/lora/runs/new")
    page.get_by_label("Rank r", exact=True).fill("16")
    page.get_by_role("button", name="Vary a parameter of this…").click()
    first = page.get_by_role("group", name="First parameter")
    # Only what the choice needs is shown, and what varies is not set a second time.
    expect(first.get_by_label("From")).to_be_hidden()
    expect(page.locator("#learning_rate")).to_be_hidden()
    first.get_by_label("Parameter").select_option("Variant")
    expect(first.get_by_label("Values", exact=True)).to_have_value("lora, rslora, dora")
    first.get_by_label("Parameter").select_option("Rank r")
    expect(first.locator("p[data-hint]")).to_contain_text("1 – 256 · Width of the update")
    expect(first.get_by_label("Values", exact=True)).to_have_value("4, 8, 16, 32, 64")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("lora: rank 64")
    first.get_by_label("Its values").select_option("A range, equal ratios")
    expect(first.get_by_label("From")).to_have_value("4")
    for label, text in (("From", "2"), ("To", "8"), ("How many", "3")):
        first.get_by_label(label).fill(text)
    expect(preview).to_contain_text("3 runs")
    expect(preview).to_contain_text("lora: rank 4")
    page.get_by_role("button", name="Start the sweep").click()

    expect(page.locator("#sweep")).to_contain_text("0 of 3 runs are over")
    page.get_by_role("link", name="Cancel all").click()
    page.get_by_role("button", name="Cancel the sweep").click()
    expect(page.locator("#sweep")).to_contain_text("3 of 3 runs are over")

    page.goto(f"/sweeps/{done.id}")
    expect(page.locator("chart-grid[data-drawn]")).to_be_visible()
    expect(page.get_by_role("heading", name="The best run:")).to_contain_text("0.01")
    page.get_by_label("Judge by").select_option("Validation loss")
    expect(page.locator("#best-title + p")).to_contain_text("Lowest “Validation loss”")
    page.get_by_role("link", name="Final", exact=True).click()
    expect(page.get_by_role("columnheader", name="Final")).to_have_attribute(
        "aria-sort", "ascending"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
