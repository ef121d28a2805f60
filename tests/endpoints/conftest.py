from collections.abc import Iterator

import pytest

from tests.endpoints.front import FakeFront, running_front
from tests.support.site import Site, served, two_classes


@pytest.fixture
def site(sqlite_url: str) -> Site:
    return two_classes()


@pytest.fixture
def front() -> Iterator[FakeFront]:
    with running_front() as started:
        yield started


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    """The application behind a real server."""
    with served(site.app) as address:
        yield address
