"""What grows on the disk: who is told, and what goes by itself."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.archive import zipped
from app.database import transaction
from app.settings import get_settings
from app.storage import tidy as storage
from app.storage import views
from app.storage.tidy import IN_USE_SECONDS, KEPT_SECONDS, LEFT_SECONDS, packed, tidy
from labs.published import publishing
from tests.support.factories import make_dataset, make_run
from tests.support.site import Site

SIZE = 10
Cap = Callable[[int], None]


@pytest.fixture
def cap(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Cap:
    """A disk of this many bytes, on which nothing lies but packed downloads."""

    def use(total: int) -> None:
        def usage(_: Path) -> SimpleNamespace:
            used = sum(path.stat().st_size for path in packed())
            return SimpleNamespace(total=total, used=used, free=total - used)

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return use


def leave(name: str, age: float, size: int = SIZE) -> Path:
    path = get_settings().home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return path


@given(ages=st.lists(st.floats(0, 2 * KEPT_SECONDS), max_size=12), room=st.integers(1, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_used_longest_ago_goes_first(cap: Cap, ages: list[float], room: int) -> None:
    # Not so near to a limit that a slow machine moves an age beyond it.
    ages = [age for age in ages if min(abs(age - IN_USE_SECONDS), abs(age - KEPT_SECONDS)) > 60]
    shutil.rmtree(get_settings().runs_dir, ignore_errors=True)
    files = {leave(f"runs/{n}/downloads/a.zip", age): age for n, age in enumerate(ages)}
    cap(room)
    tidy()
    kept = {files[path] for path in packed()}
    gone = [age for path, age in files.items() if not path.exists()]
    assert all(age > IN_USE_SECONDS for age in gone), "one was in use"
    assert all(age < KEPT_SECONDS for age in kept), "one was too old"
    asked_for = [age for age in gone if age < KEPT_SECONDS]
    assert all(age >= other for age in asked_for for other in kept), "a newer one went first"
    assert not storage.is_nearly_full() or all(age < IN_USE_SECONDS for age in kept)


def test_who_reads_a_download_gets_all_of_it(cap: Cap) -> None:
    adapter = get_settings().home / "runs" / "one" / "artifacts" / "adapter"
    with publishing(adapter, {"kind": "adapter"}) as folder:
        (folder / "weights").write_bytes(os.urandom(1 << 20))
    path = zipped(adapter, "0" * 64)
    whole = path.read_bytes()
    cap(1)
    with path.open("rb") as reader:
        start = reader.read(1000)
        assert tidy() == 0, "it was in use"
        os.utime(path, (0, 0))
        assert tidy() == 1
        assert start + reader.read() == whole
    assert zipped(adapter, "0" * 64).read_bytes() == whole
    os.utime(path, (0, 0))
    assert zipped(adapter, "0" * 64) == path
    assert tidy() == 0, "asking for it is using it"


def test_what_was_cut_off_goes_and_what_a_row_names_stays(site: Site) -> None:
    old, new = 2 * LEFT_SECONDS, 0
    named, unnamed = f"{1:064x}", f"{2:064x}"
    with transaction() as session:
        make_dataset(session, owner_id=site.people["sam"].id, sha256=named)
    stays = [
        leave(f"datasets/00/{named}.jsonl", old),
        leave(f"datasets/00/{unnamed[:-1]}3.jsonl", new),
        leave("datasets/quarantine/new.jsonl", new),
        leave("runs/one/downloads/.new.part", new),
        leave("runs/one/artifacts/adapter/weights", old),
    ]
    goes = [
        leave(f"datasets/00/{unnamed}.jsonl", old),
        leave("datasets/quarantine/old.jsonl", old),
        leave("runs/one/downloads/.old.part", old),
    ]
    assert tidy() == len(goes)
    assert [path for path in stays if not path.exists()] == []
    assert [path for path in goes if path.exists()] == []


def test_the_page_names_who_takes_the_room(site: Site) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"])
        make_dataset(session, owner_id=site.people["tess"].id, bytes=5 << 20)
    leave(f"runs/{run.id}/artifacts/weights", 0, 3 << 20)
    leave(f"runs/{run.id}/downloads/weights.zip", 0, 2 << 20)
    page = " ".join(site.client("ada").get("/admin/storage").text.split())
    assert '<th scope="row">sam</th><td class="table__num">5 MiB</td>' in page
    assert page.index('<th scope="row">sam</th>') < page.index('<th scope="row">tess</th>')
    assert '<span class="tile__name">Packed downloads</span><span class="tile__value">2 MiB' in page


@pytest.mark.parametrize(("used", "warns"), [(80, False), (81, True)])
def test_the_page_warns_at_four_fifths(
    site: Site, monkeypatch: pytest.MonkeyPatch, used: int, warns: bool
) -> None:
    disk = SimpleNamespace(total=100, used=used, free=100 - used)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    page = site.client("ada").get("/admin/storage").text
    assert ("more than four fifths full" in page) is warns


def test_a_download_that_vanishes_while_the_page_is_made_breaks_nothing(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "packed", lambda: [home / "gone.zip"])
    page = site.client("ada").get("/admin/storage")
    assert page.status_code == 200
    assert '<span class="tile__name">Packed downloads</span>' in page.text
