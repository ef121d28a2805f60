"""The first hour of a student: a run in three clicks, live curves, a comparison, a download."""

from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.support.server import Server

LONG_ENOUGH_MS = 300_000


@pytest.mark.browser
@pytest.mark.slow
def test_from_the_link_to_a_comparison(server: Server, page: Page, pictures: Path) -> None:
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", listen)
    page.goto(server.new_link("student2"))
    page.get_by_role("link", name="Open the first lab").click()
    page.get_by_role("button", name="Start with the defaults").click()
    first = page.url
    page.evaluate("window.stayed = true")

    expect(page.locator("chart-grid[data-drawn]")).to_be_visible(timeout=LONG_ENOUGH_MS)
    loss = page.locator("[data-live='train/loss']")
    expect(loss).not_to_have_text("–")
    earlier = loss.inner_text()
    expect(loss).not_to_have_text(earlier, timeout=LONG_ENOUGH_MS)
    expect(page.locator("[data-state=succeeded]")).to_be_visible(timeout=LONG_ENOUGH_MS)
    expect(page.locator(".step--done")).to_have_count(4)
    assert page.evaluate("window.stayed"), "the page was loaded again"
    take_pictures(page, pictures)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download adapter").click()
    assert download.value.suggested_filename.startswith("adapter")

    page.get_by_role("link", name="Run again with changes").click()
    page.get_by_label("Steps", exact=True).fill("20")
    page.get_by_label("Name", exact=True).fill("fewer steps")
    for stage in ("Inference", "Deploy"):
        page.get_by_role("checkbox", name=stage).uncheck()
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("[data-state=succeeded]")).to_be_visible(timeout=LONG_ENOUGH_MS)

    page.get_by_role("link", name="Compare with…").click()
    page.locator(f"#pick-{first.rpartition('/')[2]}").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".compared__run")).to_have_count(2)
    varied = page.get_by_role("region", name="What was varied").first
    expect(varied).to_contain_text("Steps")
    expect(page.locator(".chart:visible").first).to_be_visible()
    assert complaints == []


def take_pictures(page: Page, folder: Path) -> None:
    """The finished run as the README shows it, in both themes."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        # Given a path, playwright writes in a thread that stays for the next test.
        (folder / f"run-{theme}.png").write_bytes(page.screenshot())
    page.emulate_media(color_scheme="light")
