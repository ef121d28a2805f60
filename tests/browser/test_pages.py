"""Every page in a real browser: nothing complains, nothing is cut off, nothing runs that was typed."""

from collections.abc import Callable
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from app.assets import static_url
from app.database import transaction
from app.html import duration
from app.i18n import LANGUAGES, use_language
from app.metrics import store
from app.models import RunState
from app.runs import lifecycle
from tests.support.factories import make_device
from tests.support.factories_web import SHARES, make_shown_run, rows_until
from tests.support.site import Site

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Page]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>{{ 7*7 }}"
PHONE = 360


@pytest.fixture
def runs(site: Site) -> dict[str, UUID]:
    """Three runs of sam's: one that succeeded, one with a hostile name, one that diverged."""
    sam = site.people["sam"]
    with transaction() as session:
        make_device(session)
        made = {
            "good": make_shown_run(session, sam, name="rank 8"),
            "hostile": make_shown_run(session, sam, name=HOSTILE, params={"rank": 1}),
            "diverged": make_shown_run(
                session, sam, RunState.FAILED, diverges_at=40, name="too fast", cause="diverged",
                reason={"message": "The loss is not a number.", "values": {}},
            ),
        }  # fmt: skip
        return {name: run.id for name, run in made.items()}


def paths_of(runs: dict[str, UUID]) -> list[str]:
    both = f"{runs['good']},{runs['hostile']}"
    return [
        "/", "/labs", "/labs/lora", "/labs/lora/runs/new", "/runs", f"/compare?runs={both}",
        "/compare", "/queue", "/help", "/datasets", "/library", "/account",
        *(f"/runs/{run}" for run in runs.values()), f"/runs/{runs['good']}/cancellation/new",
    ]  # fmt: skip


def test_no_page_complains_on_a_desk(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    for path in paths_of(runs):
        page.goto(path)
        expect(page.locator("h1").first).to_be_visible()
        page.wait_for_load_state("networkidle") if "/runs/" not in path else None


def test_no_page_scrolls_sideways_on_a_phone(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam", width=PHONE)
    for path in paths_of(runs):
        page.goto(path)
        expect(page.locator("h1").first).to_be_visible()
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], path


def test_what_was_typed_is_shown_literally(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(f"/runs/{runs['hostile']}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    page.goto(f"/compare?runs={runs['good']},{runs['hostile']}")
    expect(page.locator(".chart:visible .chart__key").nth(1)).to_contain_text(HOSTILE)


def test_a_not_a_number_is_told_and_explained(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    page.goto(f"/runs/{runs['diverged']}")
    expect(page.locator(".chart__legend").first).to_contain_text("not a number")
    notice = page.locator(".notice--negative")
    expect(notice).to_contain_text("not-a-number or infinite")
    expect(notice).to_contain_text("Lower the learning rate")


def test_a_chart_can_be_read_with_the_keyboard(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    page.goto(f"/runs/{runs['good']}")
    page.locator(".chart__canvas").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".chart__head").first).to_have_attribute("data-step", "Step 1")
    expect(page.locator("chart-grid > [aria-live]")).to_contain_text("Step 1: Training loss 2.7")
    page.get_by_text("Values as a table").first.click()
    expect(page.locator(".chart__table tbody tr").first).to_contain_text("0")


def test_a_range_is_drawn_closer_and_whole_again(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    page.goto(f"/runs/{runs['good']}")
    box = page.locator(".chart .u-over").first.bounding_box()
    assert box is not None
    with page.expect_response(lambda reply: "/metrics?" in reply.url) as reply:
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60, steps=5)
        page.mouse.up()
    assert reply.value.ok
    page.get_by_role("button", name="Whole range").click()
    expect(page.get_by_role("button", name="Whole range")).to_be_hidden()


def test_the_view_of_a_comparison_stands_in_its_address(
    open_tab: OpenTab, runs: dict[str, UUID]
) -> None:
    page = open_tab("sam")
    page.goto(f"/compare?runs={runs['good']},{runs['hostile']}")
    expect(page.get_by_text("Only one thing differs: Rank r.")).to_be_visible()
    page.get_by_label("Smoothing").fill("0.6")
    page.get_by_label("Logarithmic axis").check()
    assert "smoothing=0.6" in page.url
    page.reload()
    expect(page.get_by_label("Logarithmic axis")).to_be_checked()
    page.get_by_role("link", name=f"Remove {HOSTILE}").click()
    expect(page.locator(".compared__run")).to_have_count(1)


def test_runs_are_chosen_and_compared(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    page.goto("/runs")
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    page.get_by_label("Compare rank 8").check()
    page.get_by_label("Compare too fast").check()
    compare.click()
    expect(page.locator(".compared__run")).to_have_count(2)


def test_the_list_is_narrowed_without_a_reload(open_tab: OpenTab, runs: dict[str, UUID]) -> None:
    page = open_tab("sam")
    page.goto("/runs")
    page.get_by_label("Search by name").fill("too fast")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    page.get_by_label("State").select_option("succeeded")
    expect(page.get_by_text("No run matches")).to_be_visible()
    assert "search=too" in page.url


def test_appearance_and_language_are_chosen_in_the_header(
    open_tab: OpenTab, runs: dict[str, UUID]
) -> None:
    page = open_tab("sam")
    page.goto("/queue")
    page.get_by_label("Appearance").select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.get_by_label("Language").select_option("zh-Hant")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hant")
    assert page.url.endswith("/queue")


def test_the_menu_opens_and_closes_with_the_keyboard(open_tab: OpenTab) -> None:
    page = open_tab("sam")
    page.get_by_role("button", name="Menu of sam").press("Enter")
    expect(page.get_by_role("link", name="Account")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Account")).to_be_hidden()


def test_cancelling_asks_once_more(open_tab: OpenTab, site: Site) -> None:
    with transaction() as session:
        run = make_shown_run(session, site.people["sam"], RunState.QUEUED, device=None)
    page = open_tab("sam")
    page.goto(f"/runs/{run.id}")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Keep it running").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("[data-state=cancelled]")).to_be_visible()


def test_points_and_results_arrive_without_a_reload(open_tab: OpenTab, site: Site) -> None:
    with transaction() as session:
        run = make_shown_run(session, site.people["sam"], RunState.RUNNING, steps=30)
    page = open_tab("sam")
    page.goto(f"/runs/{run.id}")
    expect(page.locator("[data-live='train/loss']")).to_have_text("1.481")
    page.evaluate("window.stayed = true")
    with transaction() as session:
        store.append(session, run.id, 1, rows_until(60, first=31))
        lifecycle.append_events(session, run.id, 1, [("table", SHARES)])
        lifecycle.finish(session, run.id, 1, RunState.SUCCEEDED)
    expect(page.locator("[data-live='train/loss']")).to_have_text("0.8578")
    expect(page.locator("[data-state=succeeded]")).to_be_visible()
    expect(page.get_by_role("heading", name="Trainable share by module")).to_be_visible()
    expect(page.get_by_role("link", name="Run again with changes")).to_be_visible()
    assert page.evaluate("window.stayed")


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_and_server_say_lengths_of_time_alike(open_tab: OpenTab, language: str) -> None:
    page = open_tab("sam")
    page.locator("select[name=language]").select_option(language)
    expect(page.locator("html")).to_have_attribute("lang", language)
    lengths = [0, 45, 59.6, 60, 114, 3599, 3600, 9000]
    say = "async ([path, lengths]) => lengths.map((await import(path)).duration)"
    use_language(language)
    told = [duration(max(10, round(each))) for each in lengths]
    use_language("en")
    found = page.evaluate(say, [static_url("js/format.js"), [max(10, each) for each in lengths]])
    assert found == told
