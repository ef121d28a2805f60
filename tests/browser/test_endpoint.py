"""A served model on its run's page: it opens before one's eyes, is asked, and is closed."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.endpoints.front import WORDS, FakeFront, open_at, running_front, say, serving
from tests.support.site import Site

pytestmark = pytest.mark.browser


@pytest.fixture
def front() -> Iterator[FakeFront]:
    with running_front() as started:
        yield started


def test_a_served_model_is_tried_on_the_page_of_its_run(
    open_tab: Callable[..., Page], site: Site, front: FakeFront
) -> None:
    run_id = serving(site)
    say(run_id, "starting")
    page = open_tab("sam", width=390)
    page.goto(f"/runs/{run_id}")
    card, box = page.locator("#endpoint"), page.locator("try-model")
    expect(card.get_by_text("being loaded", exact=True)).to_be_visible()
    expect(box).to_be_hidden()
    card.get_by_label("Name of a new key").fill("notebook")
    card.get_by_role("button", name="Make a key").click()
    key = card.locator("#new-endpoint-key")
    expect(key).to_contain_text("bsk_")

    # The page learns by its stream that the endpoint is open; what was shown once stays shown.
    open_at(run_id, front)
    expect(box).to_be_visible()
    expect(key).to_be_visible()

    front.waits = True
    front.step.release()
    box.get_by_label("Prompt").fill("Is it wet?")
    box.get_by_label("Prompt").press("Control+Enter")
    expect(box.locator("[data-answer]")).to_have_text(WORDS[0])
    box.get_by_label("Prompt").press("Escape")
    expect(box.get_by_text("Stopped.")).to_be_visible()
    assert front.was_left.wait(10)

    front.waits = False
    box.get_by_role("button", name="Send").click()
    expect(box.locator("[data-answer]")).to_have_text("".join(WORDS))
    expect(box.locator("[data-note]")).to_contain_text("3 tokens in")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    card.get_by_text("Close now").click()
    card.get_by_role("button", name="Close the endpoint").click()
    expect(card.get_by_text("The endpoint is closed.")).to_be_visible()
    expect(box).to_be_hidden()
    assert front.deeds == [("closing", {})]
