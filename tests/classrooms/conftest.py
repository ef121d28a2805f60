import pytest

from tests.support.site import Site, two_classes


@pytest.fixture
def site(database_url: str) -> Site:
    return two_classes()
