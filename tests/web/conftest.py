from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import Role
from tests.support.site import Site, opened_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Two classes: maria teaches sam, tariq teaches tess; ada is the admin."""
    with opened_site(tmp_path / "data", monkeypatch) as site:
        for name, role in (
            ("ada", Role.ADMIN),
            ("maria", Role.INSTRUCTOR),
            ("tariq", Role.INSTRUCTOR),
            ("sam", Role.STUDENT),
            ("tess", Role.STUDENT),
        ):
            site.add(name, role)
        site.enroll("Monday", "maria", "sam")
        site.enroll("Tuesday", "tariq", "tess")
        yield site
