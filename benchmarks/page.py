"""The run page in a browser."""

import gzip

from playwright.sync_api import Browser, Page, Response

from benchmarks.box import running
from benchmarks.history import add_run, database_of
from benchmarks.report import Row, spread
from tests.support.browser import running_browser

STEPS = 10_000
FIRST_CHART = """new Promise(done => {
  const look = () => {
    const mark = performance.getEntriesByName("bunsen:first-chart")[0]
    mark ? done(mark.startTime) : requestAnimationFrame(look)
  }
  look()
})"""


def measure() -> list[Row]:
    """The page of a run of 10,000 steps x 8 metrics, warm, in headless Chromium."""
    with running() as box:
        with database_of(box.home):
            run_id = add_run(STEPS)
        with running_browser() as browser:
            page = _signed_in(browser, box.entry)
            url = f"{box.url}/runs/{run_id}"
            script_bytes = _script_bytes(page, url)
            painted = [_painted(page, url) for _ in range(11)]
    return [
        Row("first chart painted", spread(painted[1:], "ms"), "500 ms", "navigation start to the mark after the first draw"),
        Row("own scripts and libraries", f"{script_bytes / 1000:.1f} kB gzipped", "150 kB", "every script the page loads, gzip -9"),
    ]  # fmt: skip


def _signed_in(browser: Browser, entry: str) -> Page:
    page = browser.new_page()
    page.goto(entry)
    return page


def _script_bytes(page: Page, url: str) -> int:
    bodies: list[bytes] = []

    def keep(response: Response) -> None:
        if response.request.resource_type == "script":
            bodies.append(response.body())

    page.on("response", keep)
    page.goto(url)
    page.evaluate(FIRST_CHART)
    page.remove_listener("response", keep)
    return sum(len(gzip.compress(body, 9)) for body in bodies)


def _painted(page: Page, url: str) -> float:
    page.goto(url)
    return float(page.evaluate(FIRST_CHART))
