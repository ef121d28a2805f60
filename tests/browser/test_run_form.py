"""The form that starts a run: what is wrong stands beside its field, and nothing is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from app.database import reading, transaction
from app.models import Dataset, Run
from tests.support.factories import make_device
from tests.support.site import Site

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Page]
FORM = "/labs/lora/runs/new"


@pytest.fixture
def form(open_tab: OpenTab, site: Site) -> Page:
    with transaction() as session:
        make_device(session, ready=False)
    page = open_tab("sam")
    page.goto(FORM)
    return page


def count_of(kind: type[Run] | type[Dataset]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(kind)) or 0


def test_an_error_stands_beside_its_field_and_nothing_is_lost(form: Page) -> None:
    form.get_by_label("Rank r", exact=True).fill("512")
    form.get_by_label("Name", exact=True).fill("my try")
    form.get_by_text("Advanced").click()
    form.get_by_label("Gradient checkpointing").check()
    form.get_by_role("button", name="Start the run").click()

    rank = form.get_by_label("Rank r", exact=True)
    expect(rank).to_have_attribute("aria-invalid", "true")
    expect(rank).to_have_value("512")
    described = (rank.get_attribute("aria-describedby") or "").split()
    assert "rank-error" in described
    expect(form.locator("#rank-error")).to_contain_text("512")
    expect(form.locator("[role=alert]")).to_be_focused()
    expect(form.get_by_label("Name", exact=True)).to_have_value("my try")
    expect(form.get_by_label("Gradient checkpointing")).to_be_checked()
    assert count_of(Run) == 0

    rank.fill("4")
    form.get_by_role("button", name="Start the run").click()
    expect(form.get_by_role("heading", name="my try")).to_be_visible()
    assert count_of(Run) == 1


def test_the_estimate_follows_the_values(form: Page) -> None:
    total = form.locator(".estimate__total strong")
    first = total.inner_text()
    form.get_by_label("Batch size", exact=True).fill("256")
    expect(total).not_to_have_text(first)
    form.get_by_text("The same on the command line").click()
    expect(form.locator(".command")).to_contain_text("--set batch_size=256")
    form.get_by_label("Batch size", exact=True).fill("255")
    expect(form.locator(".command")).to_contain_text("--set batch_size=255")
    expect(form.locator(".command")).to_be_visible()
    form.get_by_label("Batch size", exact=True).fill("256")
    expect(form.locator(".command")).to_contain_text("--set batch_size=256")
    form.get_by_text("Ways to need less memory").click()
    form.get_by_role("button", name="Half the batch").click()
    expect(form.get_by_label("Batch size", exact=True)).to_have_value("128")


def test_the_same_form_sent_twice_is_one_run(form: Page) -> None:
    addresses = form.evaluate(
        """async () => {
          const form = document.querySelector("#run-form")
          const send = () => fetch(form.action, { method: "POST", body: new FormData(form) })
          return [(await send()).url, (await send()).url]
        }"""
    )
    assert addresses[0] == addresses[1]
    assert count_of(Run) == 1


def test_own_rows_are_checked_and_kept(form: Page, tmp_path: Path) -> None:
    bundled = count_of(Dataset)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"instruction": "a", "output": "b"}\nnot json\n', encoding="utf-8")
    form.set_input_files("input[type=file]", bad)
    form.get_by_role("button", name="Start the run").click()
    expect(form.locator("#dataset_file-error")).to_contain_text("2")
    assert count_of(Dataset) == bundled

    good = tmp_path / "good.jsonl"
    rows = [
        {"instruction": f"Say {number}.", "input": "", "output": str(number)}
        for number in range(40)
    ]
    good.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    form.set_input_files("input[type=file]", good)
    form.get_by_role("button", name="Start the run").click()
    expect(form.locator("#about")).to_contain_text("good")
    assert count_of(Dataset) == bundled + 1


def test_a_run_can_be_started_with_the_keyboard_alone(form: Page) -> None:
    form.keyboard.press("Tab")
    expect(form.get_by_role("link", name="Skip to the content")).to_be_focused()
    form.keyboard.press("Enter")
    form.get_by_label("Name", exact=True).focus()
    form.keyboard.type("by keyboard")
    form.keyboard.press("Enter")
    expect(form.get_by_role("heading", name="by keyboard")).to_be_visible()


def test_it_works_without_javascript(open_tab: OpenTab, site: Site) -> None:
    page = open_tab("sam", javascript=False)
    page.goto(FORM)
    page.get_by_label("Rank r", exact=True).fill("2")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("LoRA")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("[data-state=cancelled]")).to_be_visible()
