"""Links, passwords, sessions and tokens."""

import logging
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from app import clock
from app.accounts import passwords, people
from app.database import transaction
from app.middleware import HideTokens
from app.models import LoginSession
from tests.support.site import Site

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _no_guesses() -> None:
    passwords.guesses.__init__()  # type: ignore[misc]


def set_password(client: TestClient, password: str = PASSWORD, current: str = "") -> None:
    data = {"password": password, "current": current}
    assert client.post("/account/password", data=data).status_code == 200


def login(client: TestClient, name: str, password: str = PASSWORD, **data: str) -> int:
    return client.post("/login", data={"name": name, "password": password, **data}).status_code


def test_a_link_lets_one_person_in_once(site: Site) -> None:
    link = site.link("sam")
    first = site.client()
    entered = first.get(f"/enter/{link}")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "sam" in first.get("/account").text
    second = site.client().get(f"/enter/{link}")
    assert second.status_code == 404
    assert "./bunsen user link" in second.text
    assert "session" not in second.cookies


def test_opening_the_own_link_while_signed_in_keeps_it(site: Site) -> None:
    client = site.client("sam")
    link = site.link("sam")
    assert client.get(f"/enter/{link}").status_code == 303
    assert site.client().get(f"/enter/{link}").status_code == 303


def test_a_newer_link_replaces_an_older_one(site: Site) -> None:
    older, newer = site.link("sam"), site.link("sam")
    assert site.client().get(f"/enter/{older}").status_code == 404
    assert site.client().get(f"/enter/{newer}").status_code == 303


def test_a_link_lasts_seven_days(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    link = site.link("sam")
    later = clock.now() + timedelta(days=7, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert site.client().get(f"/enter/{link}").status_code == 404


def test_a_password_of_ones_own_opens_the_door(site: Site) -> None:
    set_password(site.client("sam"))
    client = site.client()
    assert login(client, "sam") == 303
    assert "sam" in client.get("/account").text


def test_the_page_one_wanted_comes_after_signing_in(site: Site) -> None:
    set_password(site.client("sam"))
    client = site.client()
    asked = client.get("/account?tab=1")
    assert asked.headers["location"] == "/login?next=/account%3Ftab%3D1"
    for wanted, given in (("/runs", "/runs"), ("//evil.test", "/"), ("https://evil.test", "/")):
        data = {"name": "sam", "password": PASSWORD, "next": wanted}
        assert site.client().post("/login", data=data).headers["location"] == given


@pytest.mark.parametrize(
    ("name", "password"), [("sam", "wrong wrong"), ("nobody", "wrong wrong"), ("tess", "")]
)
def test_every_wrong_sign_in_gets_the_same_answer(site: Site, name: str, password: str) -> None:
    set_password(site.client("sam"))
    answer = site.client().post("/login", data={"name": name, "password": password})
    assert answer.status_code == 422
    assert "Name and password do not belong together." in answer.text


def test_guessing_is_slowed_for_the_account_and_address(site: Site) -> None:
    set_password(site.client("sam"))
    client = site.client()
    statuses = [login(client, "sam", f"guess number {n}") for n in range(6)]
    assert statuses == [422] * 5 + [429]
    assert login(client, "sam") == 429
    assert login(client, "tess") == 422


@pytest.mark.parametrize("password", ["short", "password123", "aaaaaaaaaaaa", "x" * 257])
def test_a_weak_password_is_refused_at_its_field(site: Site, password: str) -> None:
    answer = site.client("sam").post("/account/password", data={"password": password})
    assert answer.status_code == 422
    assert 'id="password-error"' in answer.text


def test_changing_a_password_needs_the_present_one_and_signs_others_out(site: Site) -> None:
    client, other = site.client("sam"), site.client("sam")
    set_password(client)
    assert other.get("/account").status_code == 303
    assert (
        client.post("/account/password", data={"password": "another long one"}).status_code == 422
    )
    set_password(client, "another long one", current=PASSWORD)
    assert login(site.client(), "sam") == 422


def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    client = site.client("sam")
    kept = dict(client.cookies)
    assert client.post("/logout").status_code == 303
    thief = site.client()
    thief.cookies.update(kept)
    assert thief.get("/account").status_code == 303


def test_signing_in_gives_the_browser_a_new_session(site: Site) -> None:
    client = site.client("sam")
    before = client.cookies["session"]
    client.get(f"/enter/{site.link('tess')}")
    assert client.cookies["session"] != before
    with transaction() as session:
        assert session.query(LoginSession).filter_by(user_id=site.people["sam"].id).count() == 0


def test_other_browsers_can_be_signed_out(site: Site) -> None:
    here, there = site.client("sam"), site.client("sam")
    assert here.post("/account/sessions/end").status_code == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303


@pytest.mark.parametrize("age", [timedelta(hours=8, minutes=2), timedelta(days=7, minutes=2)])
def test_a_session_ends_by_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, age: timedelta
) -> None:
    client = site.client("sam")
    later = clock.now() + age
    if age > timedelta(days=1):
        with transaction() as session:
            session.query(LoginSession).update({"seen_at": later})
    monkeypatch.setattr(clock, "now", lambda: later)
    assert client.get("/account").status_code == 303


def test_disabling_somebody_ends_their_sessions_and_tokens(site: Site) -> None:
    browser, script = site.client("sam"), site.script("sam")
    sam = site.people["sam"]
    assert site.client("ada").post(f"/admin/people/{sam.id}/disable").status_code == 303
    assert browser.get("/account").status_code == 303
    assert script.get("/account", follow_redirects=False).status_code == 303


def test_an_admin_cannot_disable_themselves(site: Site) -> None:
    ada = site.people["ada"]
    answer = site.client("ada").post(f"/admin/people/{ada.id}/disable")
    assert (answer.status_code, "yourself" in answer.text) == (422, True)


def test_an_admin_adds_a_person_who_enters_by_the_link(site: Site) -> None:
    answer = site.client("ada").post("/admin/people", data={"name": "zoë", "role": "student"})
    assert answer.status_code == 201
    link = answer.text.split('id="entry-link">')[1].split("<")[0]
    newcomer = site.client()
    assert newcomer.get(link).status_code == 303
    assert "zoë" in newcomer.get("/account").text


@pytest.mark.parametrize(
    ("name", "role"),
    [("", "student"), ("sam", "student"), ("SAM", "student"), ("a b", "student"), ("x", "king")],
)
def test_a_wrong_person_is_refused_at_the_field(site: Site, name: str, role: str) -> None:
    answer = site.client("ada").post("/admin/people", data={"name": name, "role": role})
    assert (answer.status_code, "field--wrong" in answer.text) == (422, True)


def test_a_token_is_shown_once_and_can_be_deleted(site: Site) -> None:
    client = site.client("sam")
    made = client.post("/account/tokens", data={"days": "30"}).text
    token = made.split('id="new-token">')[1].split("<")[0]
    assert token not in client.get("/account").text
    script = TestClient(site.app, headers={"Authorization": f"Bearer {token}"})
    assert script.get("/account").status_code == 200
    with transaction() as session:
        (row,) = people.api_tokens(session, site.people["sam"])
    assert site.client("tess").post(f"/account/tokens/{row.id}/deletion").status_code == 404
    assert client.post(f"/account/tokens/{row.id}/deletion").status_code == 303
    assert script.get("/account", follow_redirects=False).status_code == 303


def test_the_chosen_language_stays_with_the_person(site: Site) -> None:
    client = site.client("sam")
    client.post("/account/language", data={"language": "zh-Hant", "next": "/account"})
    assert '<html lang="zh-Hant"' in client.get("/account").text
    assert '<html lang="zh-Hant"' in site.client("sam").get("/account").text


def test_the_access_log_hides_one_time_tokens() -> None:
    record = logging.LogRecord(
        "uvicorn.access", 20, "", 0, '%s "%s %s"', ("1.2.3.4", "GET", "/enter/secret?x=1"), None
    )
    HideTokens().filter(record)
    assert record.getMessage() == '1.2.3.4 "GET /enter/***?x=1"'
