"""Nothing that a trainer writes into its run directory leads anywhere but to a trainer."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from app.endpoints.address import FILE, front_of
from app.settings import get_settings

RUN = UUID(int=7)
SOUND = {
    "address": "http://127.0.0.1:40000", "secret": "a-secret-of-some-length", "model": "tuned",
    "engine": "transformers", "attempt": 2,
}  # fmt: skip


@pytest.fixture
def file(home: Path) -> Path:
    folder = get_settings().run_dir(RUN)
    folder.mkdir(parents=True)
    return folder / FILE


def test_a_sound_file_is_read_for_its_own_attempt_only(file: Path) -> None:
    file.write_text(json.dumps(SOUND))
    front = front_of(RUN, 2)
    assert front is not None
    assert (front.address, front.model) == (SOUND["address"], "tuned")
    assert front.secret not in repr(front)
    assert front_of(RUN, 3) is None


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1:40000", "http://10.0.0.1:40000", "http://127.0.0.1", "http://127.0.0.1:80",
        "http://127.0.0.1:40000/admin", "http://127.0.0.1:40000?x", "http://127.0.0.1:40000#x",
        "http://evil@127.0.0.1:40000", "http://127.0.0.1:40000@evil.test:1025", "file:///etc/passwd",
        "http://127.0.0.1:99999", "http://[::1", "http://127.0.0.1:40000\nX: y", "", "http://127.1:40000",
    ],
)  # fmt: skip
def test_no_other_address_is_spoken_to(file: Path, address: str) -> None:
    file.write_text(json.dumps({**SOUND, "address": address}))
    assert front_of(RUN, 2) is None


@pytest.mark.parametrize("secret", ["", "short", "with space and more of it", "x" * 300, "naïve-secret-naïve"])  # fmt: skip
def test_a_secret_fits_a_header(file: Path, secret: str) -> None:
    file.write_text(json.dumps({**SOUND, "secret": secret}))
    assert front_of(RUN, 2) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"x"', "[" * 5000, "\x00", '{"attempt": "2"}'])  # fmt: skip
def test_what_is_no_such_file_is_no_server(file: Path, text: str) -> None:
    file.write_text(text)
    assert front_of(RUN, 2) is None


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(SOUND))
    file.symlink_to(elsewhere)
    assert front_of(RUN, 2) is None


def test_other_machines_are_named_by_the_settings(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(json.dumps({**SOUND, "address": "http://gpu-box:40000"}))
    assert front_of(RUN, 2) is None
    monkeypatch.setenv("BUNSEN_SERVE_HOSTS", "other, GPU-box")
    get_settings.cache_clear()
    assert front_of(RUN, 2) is not None
