"""The endpoint on its run's page and in the API: who sees and does what, and what is written down."""

import re
from uuid import UUID

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.database import reading, transaction
from app.endpoints.standing import OPEN_STAGE
from app.library.register import sync_bundled
from app.models import AuditEntry, EndpointKey, Run, RunState
from tests.endpoints.front import WORDS, FakeFront, end, open_at, say, serving
from tests.support.factories import make_device
from tests.support.site import Site

PART = {"HX-Request": "true"}


@pytest.fixture
def run_id(site: Site, front: FakeFront) -> UUID:
    made = serving(site)
    open_at(made, front)
    return made


def acts() -> list[tuple[str, str]]:
    with reading() as session:
        found = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.action.startswith("endpoint"))
            .order_by(AuditEntry.id)
        )
        return [(each.action, each.target) for each in found]


def key_in(page: str) -> str:
    found = re.search(r'id="new-endpoint-key"[^>]*>(bsk_[\w-]+)<', page)
    assert found is not None, page
    return found[1]


def rows() -> list[EndpointKey]:
    with reading() as session:
        return list(session.scalars(select(EndpointKey).order_by(EndpointKey.id)))


def test_the_card_follows_the_run_from_queue_to_end(site: Site, front: FakeFront) -> None:
    sam = site.client("sam")
    waiting = serving(site, state=RunState.QUEUED)
    assert 'data-state="waiting"' in sam.get(f"/runs/{waiting}").text
    run_id = serving(site)
    address = f"/runs/{run_id}/endpoint"
    seen = [sam.get(address, headers=PART).text]
    for state in ("starting", "testing"):
        say(run_id, state)
        seen.append(sam.get(address, headers=PART).text)
    open_at(run_id, front)
    seen.append(sam.get(address, headers=PART).text)
    states = [re.findall(r'data-state="(\w+)"', each) for each in seen]
    assert states == [["preparing"], ["starting"], ["testing"], ["open"]]
    assert "Close now" in seen[-1]
    assert "Close now" not in seen[0]
    for page in (sam.get(address).text, sam.get(f"/runs/{run_id}").text):
        assert f"http://bunsen.test/serve/{run_id}/v1" in page
        assert "<try-model" in page
    end(run_id)
    over = sam.get(f"/runs/{run_id}").text
    assert 'data-state="closed"' in over
    assert "<try-model" not in over
    assert "Serve it again" in over


def test_a_key_is_shown_once_and_revoked(site: Site, front: FakeFront, run_id: UUID) -> None:
    sam, address = site.client("sam"), f"/runs/{run_id}/endpoint"
    made = sam.post(f"{address}/keys", data={"name": "notebook"})
    assert made.status_code == 201
    key = key_in(made.text)
    assert key not in sam.get(address).text
    asked = {"Authorization": f"Bearer {key}"}
    assert site.client().get(f"/serve/{run_id}/v1/models", headers=asked).status_code == 200
    refused = sam.post(f"{address}/keys", data={"name": "x" * 81}, headers=PART)
    assert refused.status_code == 422
    assert "at most 80 characters" in refused.text
    # Whoever teaches the owner sees who holds keys, and may end them.
    maria = site.client("maria")
    assert "notebook" in maria.get(address).text
    ended = maria.post(f"{address}/keys/{rows()[0].id}/revocation")
    assert (ended.status_code, ended.headers["location"]) == (303, f"/runs/{run_id}#endpoint")
    assert site.client().get(f"/serve/{run_id}/v1/models", headers=asked).status_code == 401
    assert acts() == [("endpoint_key_made", str(run_id)), ("endpoint_key_revoked", str(run_id))]
    log = site.client("ada").get("/admin/audit").text
    assert "revoked a key to the endpoint of" in log


@pytest.mark.parametrize("who", ["sam", "maria", "ada"])
def test_who_may_keeps_it_open_and_closes_it(
    site: Site, front: FakeFront, run_id: UUID, who: str
) -> None:
    client, script = site.client(who), site.script(who)
    assert client.post(f"/runs/{run_id}/endpoint/extension").status_code == 303
    live = client.post(f"/runs/{run_id}/endpoint/extension", headers=PART)
    assert 'id="endpoint-status"' in live.text
    api = f"/api/v1/runs/{run_id}/endpoint"
    assert script.post(f"{api}/extension", json={"minutes": 3}).json()["state"] == "open"
    assert client.post(f"/runs/{run_id}/endpoint/closing").status_code == 303
    closed = script.post(f"{api}/closing")
    assert (closed.status_code, closed.json()["state"]) == (202, "closed")
    ten = ("extension", {"seconds": 600})
    wanted = [ten, ten, ("extension", {"seconds": 180}), ("closing", {}), ("closing", {})]
    assert front.deeds == wanted
    assert [action for action, _ in acts()] == [f"endpoint_{'extended' if deed == 'extension' else 'closed'}" for deed, _ in wanted]  # fmt: skip


def test_it_is_nothing_to_strangers_and_closed_ones_stay_closed(
    site: Site, front: FakeFront, run_id: UUID
) -> None:
    own = f"/runs/{run_id}/endpoint"
    deeds = ("/keys", f"/keys/{UUID(int=1)}/revocation", "/extension", "/closing", "/trial")
    for name in ("tess", "tariq"):
        client, script = site.client(name), site.script(name)
        assert client.get(own).status_code == 404
        assert {client.post(own + deed).status_code for deed in deeds} == {404}
        assert script.get(f"/api/v1{own}").status_code == 404
        assert {script.post(f"/api/v1{own}{deed}").status_code for deed in deeds} == {404}
    end(run_id)
    sam = site.client("sam")
    for deed, status in (("/keys", 422), ("/extension", 409), ("/closing", 409), ("/trial", 409)):
        assert sam.post(own + deed, data={"prompt": "x"}).status_code == status
    assert front.deeds == []
    assert front.asked == []


def test_a_trainer_that_is_gone_is_told_and_breaks_nothing(site: Site, front: FakeFront) -> None:
    run_id = serving(site)
    open_at(run_id, front, address="http://127.0.0.1:1025")
    sam = site.client("sam")
    assert sam.get(f"/runs/{run_id}/endpoint").status_code == 200
    assert sam.post(f"/runs/{run_id}/endpoint/closing").status_code == 503
    assert acts() == []


def test_the_api_tells_the_same(site: Site, front: FakeFront, run_id: UUID) -> None:
    script, api = site.script("sam"), f"/api/v1/runs/{run_id}/endpoint"
    told = script.get(api).json()
    assert (told["state"], told["model"], told["engine"]) == ("open", "tuned", "fake")
    assert told["base_url"] == f"http://bunsen.test/serve/{run_id}/v1"
    assert told["used"] == {
        "active": 1, "requests": 2, "prompt_tokens": 7, "completion_tokens": 3,
    }  # fmt: skip
    made = script.post(f"{api}/keys", json={"name": "script"})
    assert made.status_code == 201
    assert made.json()["key"].startswith("bsk_")
    assert script.post(f"{api}/keys").status_code == 201
    assert script.post(f"{api}/keys", json={"nam": ""}).status_code == 422
    listed = script.get(f"{api}/keys").json()["keys"]
    assert [each["name"] for each in listed] == ["script", ""]
    assert "key" not in listed[0]
    revoked = script.post(f"{api}/keys/{listed[0]['id']}/revocation").json()
    assert revoked["revoked_at"] is not None
    assert script.post(f"{api}/keys/{UUID(int=1)}/revocation").status_code == 404
    assert script.post(f"{api}/extension", json={"minutes": 0}).status_code == 422


def test_the_box_on_the_page_asks_under_the_session(
    site: Site, front: FakeFront, run_id: UUID
) -> None:
    address = f"/runs/{run_id}/endpoint/trial"
    sam = site.client("sam")
    answer = sam.post(address, data={"prompt": "Wet?", "max_tokens": "5", "temperature": "0.5"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert all(word in answer.text for word in WORDS)
    assert front.asked[0] == {
        "model": "tuned", "stream": True, "max_tokens": 5, "temperature": 0.5,
        "messages": [{"role": "user", "content": "Wet?"}],
    }  # fmt: skip
    sam.post(address, data={"prompt": "Water", "style": "text"})
    assert front.asked[1]["prompt"] == "Water"
    assert all("cookie" not in each for each in front.headers)
    refuses_other_pages(site, address)
    for wrong in ({}, {"prompt": "x", "max_tokens": "many"}, {"prompt": "x", "temperature": "nan"}):
        refused = sam.post(address, data=wrong)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"]
    assert len(front.asked) == 2


def refuses_other_pages(site: Site, address: str) -> None:
    evil = site.client("sam", Origin="https://evil.test")
    assert evil.post(address, data={"prompt": "x"}).status_code == 403
    stranger: TestClient = site.client()
    assert stranger.post(address, data={"prompt": "x"}).status_code == 401


def test_the_queue_says_that_an_endpoint_is_open(site: Site) -> None:
    run_id = serving(site)
    with transaction() as session:
        run = session.get_one(Run, run_id)
        run.stage, run.progress_done, run.progress_total = OPEN_STAGE, 60.0, 660.0
    for name in ("sam", "tess"):
        page = site.client(name).get("/queue").text
        assert "endpoint open" in page
        assert "about 10 min left" in page


def test_an_endpoint_that_was_open_is_nobodys_result(site: Site) -> None:
    with transaction() as session:
        make_device(session)
        sync_bundled(session)
    script = site.script("sam")
    first = script.post("/api/v1/runs", json={"lab": "serve"}).json()["id"]
    with transaction() as session:
        session.execute(update(Run).where(Run.id == UUID(first)).values(state=RunState.SUCCEEDED))
    again = script.post("/api/v1/runs", json={"lab": "serve", "reuse": True}).json()
    assert (again["state"], again["same_work"], again["same_as"]) == ("queued", None, None)
