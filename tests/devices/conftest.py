import pytest

from tests.support.site import Site, two_classes


@pytest.fixture
def site(sqlite_url: str) -> Site:
    return two_classes()
