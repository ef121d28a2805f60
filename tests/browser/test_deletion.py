"""Deleting a run in a browser: asked once more in place; one that others need says which."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.database import transaction
from tests.support.factories_web import make_shown_run
from tests.support.site import Site

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Page]


def test_a_run_is_deleted_after_the_one_made_from_it(open_tab: OpenTab, site: Site) -> None:
    with transaction() as session:
        first = make_shown_run(session, site.people["sam"], name="the first")
        made_shown = {"name": "made from it", "parent_run_id": first.id}
        make_shown_run(session, site.people["sam"], **made_shown)
    page = open_tab("sam", width=390)

    page.goto(f"/runs/{first.id}")
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete this run?")
    expect(dialog.get_by_role("button", name="Delete the run")).to_have_count(0)
    dialog.get_by_role("link", name="made from it").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("made from it")
    tree = page.get_by_role("region", name="Lineage")
    expect(tree.locator("[aria-current=true]").last).to_contain_text("made from it")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete the run").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    expect(page.get_by_role("link", name="made from it")).to_have_count(0)
    page.goto(f"/runs/{first.id}")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
