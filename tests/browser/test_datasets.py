"""A dataset from the file to the class: upload with progress, paste, share, page through."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Tabs

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Page]
PHONE = 390
PIECE = 20_000
DROPPED = """drop => {
  const dataTransfer = new DataTransfer()
  dataTransfer.items.add(new File(['{"text": "a", "label": "b"}\\n{broken\\n'], "wrong.jsonl"))
  drop.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }))
}"""
# The check of the rows on a machine that does much else.
CHECK_MS = 30_000


def many_rows(folder: Path) -> Path:
    """A few pieces of rows."""
    path = folder / "weather.jsonl"
    rows = (
        {"text": f"day {n}: " + "rain " * (n % 60), "label": ("wet", "dry")[n % 2]}
        for n in range(1200)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert path.stat().st_size > 5 * PIECE
    return path


def test_rows_come_in_are_read_and_shared(
    tabs: Tabs, open_tab: OpenTab, tmp_path: Path, pictures: Path
) -> None:
    page = open_tab("sam")
    page.goto("/datasets")
    broken_once(page)
    cut_once(page)
    page.get_by_label("Choose a file").set_input_files(many_rows(tmp_path))
    page.get_by_role("button", name="Check and keep").first.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("weather", timeout=CHECK_MS)
    assert [each for each in tabs.complaints if "ERR_CONNECTION_RESET" in each]
    tabs.complaints.clear()
    expect(page.locator("#rows .rows > li")).to_have_count(10)
    expect(page.locator("#labels")).to_contain_text("wet")
    expect(page.locator("#lengths")).to_contain_text("Counted in a sample of 400 of 1,200 rows")
    take_pictures(page, pictures, "dataset")

    page.get_by_role("link", name="More").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rows")).to_contain_text("Page 2 of 120")
    expect(page).to_have_url(re.compile(r"page=2"))
    expect(page.get_by_role("link", name="More")).to_be_focused()
    page.get_by_label("Part").select_option("test")
    expect(page.locator(".rows .badge").first).to_have_text("test")
    expect(page.locator("#rows")).to_contain_text("Page 1 of 12")

    page.get_by_role("button", name="Share with the class").press("Enter")
    expect(page.locator("#shares")).to_contain_text("Monday")
    address = page.url
    maria = open_tab("maria", width=PHONE)
    maria.goto("/datasets")
    maria.get_by_role("link", name="weather").click()
    expect(maria.get_by_role("heading", level=1)).to_have_text("weather")
    expect(maria.get_by_role("link", name="Delete")).to_have_count(0)
    widths = maria.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    take_picture(maria, pictures / "dataset-phone.png")
    page.goto(address)
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("#shares")).to_contain_text("Nobody else sees it.")
    page.get_by_role("link", name="Delete").press("Enter")
    page.get_by_role("button", name="Delete the dataset").click()
    expect(page).to_have_url(re.compile(r"/datasets$"))
    expect(page.get_by_role("link", name="weather")).to_have_count(0)


def test_what_is_refused_stays_in_the_form(open_tab: OpenTab, pictures: Path) -> None:
    page = open_tab("sam")
    page.goto("/datasets")
    page.locator("[data-drop]").evaluate(DROPPED)
    page.route("**/datasets/uploads/*?*", lambda route: None)
    page.get_by_role("button", name="Check and keep").first.click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("dataset-upload [role=status]")).to_have_text("Stopped. Nothing was kept.")
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_role("button", name="Check and keep").first.click()
    expect(page.locator("#upload-problems")).to_contain_text("Line 2")
    expect(page.locator("#upload-problems")).to_be_focused()
    assert (
        page.get_by_label("Choose a file").evaluate("input => input.files[0].name") == "wrong.jsonl"
    )
    page.get_by_role("link", name="Preference pairs").click()
    box = page.get_by_label("The rows", exact=True)
    expect(box).to_have_value(re.compile("chosen"))
    box.press("Control+End")
    box.type("{broken")
    page.get_by_role("link", name="Running text").click()
    expect(page.locator(".toast")).to_contain_text("The box is not empty")
    page.get_by_label("Name", exact=True).fill("tries")
    page.locator("#paste").get_by_role("button").click()
    expect(page.locator("#rows-problems")).to_contain_text("Line 5")
    expect(page.locator("#rows-problems")).to_be_focused()
    take_pictures(page, pictures, "datasets")
    box.press("Control+End")
    for _ in range(7):
        box.press("Backspace")
    page.locator("#paste").get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("tries")
    expect(page.locator(".rows mark.rejected").first).to_contain_text("No idea.")


def broken_once(page: Page) -> None:
    """Small pieces; at the second one the connection breaks, once."""
    broken: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method == "PUT" and f"offset={PIECE}" in route.request.url and not broken:
            broken.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/datasets/uploads/**", answer)
    page.locator("dataset-upload").evaluate(f"upload => upload.dataset.piece = {PIECE}")


def cut_once(page: Page) -> None:
    """When all was sent, nothing of it is there any more, once."""
    cut: list[str] = []

    def answer(route: Route) -> None:
        if cut:
            route.fallback()
        else:
            cut.append(route.request.url)
            route.fulfill(status=409, json={"received": 0})

    page.route("**/datasets/uploads/*/completion", answer)


def take_pictures(page: Page, folder: Path, name: str) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        take_picture(page, folder / f"{name}-{theme}.png")
    page.emulate_media(color_scheme="light")


def take_picture(page: Page, file: Path) -> None:
    # Given a path, playwright would write it in a thread that outlives the test.
    file.write_bytes(page.screenshot(full_page=True))
