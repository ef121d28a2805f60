import pytest

from app.database import transaction
from app.library.register import sync_bundled
from tests.support.factories import make_device
from tests.support.site import Site, two_classes


@pytest.fixture
def site(database_url: str) -> Site:
    """People, the bundled models and datasets, and a device."""
    site = two_classes()
    with transaction() as session:
        sync_bundled(session)
        make_device(session)
    return site
