"""A site with people and runs behind a real server, and tabs that fail on any complaint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from app.database import transaction
from app.library.register import sync_bundled
from tests.support.site import Site, served, two_classes

PATIENCE_MS = 10_000


@dataclass
class Tabs:
    """Opens signed-in tabs and remembers what their pages complained about."""

    browser: Browser
    site: Site
    address: str
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, name: str = "sam", width: int = 1280, javascript: bool = True) -> Page:
        context = self.browser.new_context(
            base_url=self.address,
            viewport={"width": width, "height": 900},
            java_script_enabled=javascript,
        )
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.goto(f"/enter/{self.site.link(name)}")
        return page

    def _console(self, message: ConsoleMessage) -> None:
        # A refused form is answered with 422, which Chromium also reports here.
        if message.type in ("error", "warning") and "status of 422" not in message.text:
            self.complaints.append(message.text)


@pytest.fixture
def site(sqlite_url: str) -> Site:
    site = two_classes()
    with transaction() as session:
        sync_bundled(session)
    return site


@pytest.fixture
def tabs(browser: Browser, site: Site) -> Iterator[Tabs]:
    with served(site.app) as address:
        opened = Tabs(browser, site, address)
        yield opened
        for context in opened.contexts:
            context.close()
    assert opened.complaints == []


@pytest.fixture
def open_tab(tabs: Tabs) -> Callable[..., Page]:
    """Opens a tab of a person: `open_tab("sam", width=360)`."""
    return tabs.open
