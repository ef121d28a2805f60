"""The queue as page and API: who sees what, every run once, and what it says when nobody waits."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import clock
from app.database import transaction
from app.models import Classroom, ClassSession, DeviceState, Run, RunState
from app.queue.queries import Cursor, line, parse_cursor
from app.runs.reasons import reason_of
from tests.support.factories import make_device, make_run, make_user
from tests.support.site import Site

SECRET = "tulip-secret"


def add(site: Site, name: str, state: RunState = RunState.QUEUED, **values: Any) -> UUID:
    """A run of this person whose every private word is found again by `SECRET`."""
    values = {
        "name": f"{SECRET} of {name}",
        "params": {"steps": 10, "note": SECRET},
        "reason": reason_of("Needs {need}.", need=f"{SECRET} bytes"),
        **values,
    }
    with transaction() as session:
        return make_run(session, site.people[name], state=state, **values).id


def filled(site: Site) -> dict[str, UUID]:
    with transaction() as session:
        make_device(session, heartbeat_at=clock.now())
    live = {"device": "cpu", "assigned_at": clock.now(), "started_at": clock.now(), "attempt": 1}
    return {
        "sam": add(site, "sam", position=2),
        "tess": add(site, "tess", position=1),
        "tess live": add(site, "tess", RunState.RUNNING, **live),
        "tess held": add(site, "tess", RunState.HELD),
        "sam held": add(site, "sam", RunState.HELD),
    }


def texts(site: Site, name: str) -> str:
    """Everything the queue says to a person: page, block, and API."""
    client = site.client(name)
    pages = [client.get("/queue"), client.get("/queue", headers={"HX-Request": "true"})]
    script = site.script(name)
    replies = [script.get("/api/v1/queue"), script.get("/api/v1/queue/line")]
    assert [each.status_code for each in [*pages, *replies]] == [200] * 4
    return "".join(each.text for each in [*pages, *replies])


@pytest.mark.parametrize(
    ("who", "sees", "not_sees"),
    [
        ("sam", ["sam", "sam held"], ["tess", "tess live", "tess held"]),
        ("tess", ["tess", "tess live", "tess held"], ["sam", "sam held"]),
        ("maria", ["sam", "sam held"], ["tess", "tess live", "tess held"]),
        ("tariq", ["tess", "tess live", "tess held"], ["sam", "sam held"]),
        ("ada", ["sam", "sam held", "tess", "tess live", "tess held"], []),
    ],
)
def test_nobody_learns_of_others_more_than_that_they_wait(
    site: Site, who: str, sees: list[str], not_sees: list[str]
) -> None:
    runs = filled(site)
    said = texts(site, who)
    for key in sees:
        assert str(runs[key]) in said
    for key in not_sees:
        assert str(runs[key]) not in said
        assert f"{SECRET} of {key.split()[0]}" not in said
        assert str(site.people[key.split()[0]].id) not in said


def test_one_after_another_of_the_same_role_see_their_own_runs(site: Site) -> None:
    runs = filled(site)
    for who, other in (("sam", "tess"), ("tess", "sam"), ("sam", "tess")):
        said = texts(site, who)
        assert str(runs[who]) in said
        assert str(runs[other]) not in said


def test_a_stranger_without_runs_sees_a_line_without_words(site: Site) -> None:
    filled(site)
    site.add("nina")
    said = texts(site, "nina")
    assert SECRET not in said
    script = site.script("nina")
    turns = script.get("/api/v1/queue/line").json()["line"]
    assert [(turn["position"], turn["run"], turn["reason"]) for turn in turns] == [
        (1, None, None),
        (2, None, None),
    ]


def test_the_reply_keeps_its_fields_and_says_more(site: Site) -> None:
    runs = filled(site)
    queue = site.script("sam").get("/api/v1/queue").json()
    assert [run["id"] for run in queue["waiting"]] == [str(runs["sam"])]
    assert queue["live"] == []
    assert [run["id"] for run in queue["held"]] == [str(runs["sam held"])]
    assert queue["waiting_total"] == 2
    assert queue["waiting_by_lab"] == {"lora": 2}
    (device,) = queue["devices"]
    assert (device["slots_taken"], device["slots"], device["trouble"]) == (1, 4, None)
    assert device["memory_reserved_bytes"] == 1024**3
    assert queue["next_cursor"] is None


def test_an_instructor_may_move_up_whom_they_see(site: Site) -> None:
    runs = filled(site)
    boost = f'action="/runs/{runs["sam"]}/boost"'
    assert boost in site.client("maria").get("/queue").text
    assert boost not in site.client("tariq").get("/queue").text
    assert "/boost" not in site.client("sam").get("/queue").text


def test_a_boosted_run_may_be_put_back(site: Site) -> None:
    run = add(site, "sam", position=1, boosted_at=clock.now())
    page = site.client("maria").get("/queue").text
    assert f'action="/runs/{run}/boost/removal"' in page
    assert "moved up" in page


def walk(client: TestClient, path: str, key: str, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        params = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        reply = client.get(path, params=params).json()
        assert len(reply[key]) <= limit
        found += reply[key]
        cursor = reply["next_cursor"]
        if cursor is None:
            return found


def test_the_pages_of_the_api_are_the_whole_line_once(site: Site) -> None:
    placed = [
        add(site, name, position=place) for place, name in [(1, "sam"), (2, "tess"), (4, "sam")]
    ]
    late = [add(site, "sam"), add(site, "tess")]
    script, sam = site.script("ada"), site.script("sam")
    for limit in (1, 2, 3, 50):
        turns = walk(script, "/api/v1/queue/line", "line", limit)
        assert [turn["run"]["id"] for turn in turns] == [str(run) for run in [*placed, *late]]
        all_runs = walk(script, "/api/v1/queue", "waiting", limit)
        assert [run["id"] for run in all_runs] == [str(run) for run in [*placed, *late]]
        own = walk(sam, "/api/v1/queue", "waiting", limit)
        assert [run["id"] for run in own] == [str(placed[0]), str(placed[2]), str(late[0])]


@given(
    places=st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=12),
    limit=st.integers(1, 5),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_together_are_the_line_once_also_while_positions_repeat(
    site: Site, places: list[int | None], limit: int
) -> None:
    with transaction() as session:
        owner = make_user(session)
        runs = [make_run(session, owner, position=place) for place in places]
        expected = [
            run.id
            for run in sorted(
                runs, key=lambda run: (run.position is None, run.position or 0, run.id)
            )
        ]
        cursor: Cursor | None = Cursor()
        found: list[UUID | None] = []
        while cursor is not None:
            rows, cursor = line(session, owner, parse_cursor(str(cursor)), limit)
            assert len(rows) <= limit
            found += [row.run for row in rows]
        session.rollback()
    assert found == expected


def test_a_cursor_that_is_not_ours_is_refused(site: Site) -> None:
    client, script = site.client("sam"), site.script("sam")
    for cursor in ("x", "-1.0", "1", "1.2.3", "--", "9" * 40 + ".0", "1.0'"):
        assert client.get("/queue", params={"cursor": cursor}).status_code == 422
        for path in ("/api/v1/queue", "/api/v1/queue/line"):
            assert script.get(path, params={"cursor": cursor}).status_code == 422


def test_an_empty_queue_says_so(site: Site) -> None:
    page = site.client("sam").get("/queue").text
    for sentence in ("Nobody waits", "Nothing runs", "No device has registered"):
        assert sentence in page
    assert "Your runs" not in page
    assert site.client("sam").get("/queue?cursor=9.0").status_code == 200


def test_a_page_past_the_end_leads_back(site: Site) -> None:
    add(site, "sam", position=1)
    page = site.client("sam").get("/queue?cursor=500.0").text
    assert "The queue ends before this page." in page
    assert 'href="/queue"' in page


def test_a_lab_session_is_named_and_so_is_the_next(site: Site) -> None:
    now = clock.now()
    with transaction() as session:
        monday = session.query(Classroom).filter_by(name="Monday").one()
        for start, end in [(-1, 1), (2, 3)]:
            times = {
                "starts_at": now + start * timedelta(hours=1),
                "ends_at": now + end * timedelta(hours=1),
            }
            session.add(
                ClassSession(
                    classroom_id=monday.id, slice_seconds=300, created_at=now,
                    created_by_id=site.people["maria"].id, **times,
                )
            )  # fmt: skip
    add(site, "sam", position=1, classroom_id=monday.id)
    page = site.client("tess").get("/queue").text
    assert "Lab session of Monday" in page
    assert "Next lab session: Monday" in page
    reply = site.script("tess").get("/api/v1/queue").json()
    assert [(each["class"], each["goes_on"]) for each in reply["sessions"]] == [
        ("Monday", True),
        ("Monday", False),
    ]
    assert reply["waiting_by_class"] == {"Monday": 1}
    (turn,) = site.script("tess").get("/api/v1/queue/line").json()["line"]
    assert turn["in_session"] is True


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"state": DeviceState.PAUSED, "state_reason": "new cable"},
            "those on it go on. new cable",
        ),
        ({"state": DeviceState.DRAINED}, "save and go back to the queue"),
        ({"state": DeviceState.DRAINED, "fault": reason_of("Lost {x}.", x="bus")}, "Lost bus."),
        ({"ready": False}, "takes runs soon"),
    ],
)
def test_a_device_says_why_it_takes_no_runs(site: Site, values: Any, sentence: str) -> None:
    with transaction() as session:
        make_device(session, **{"heartbeat_at": clock.now(), **values})
    assert sentence in site.client("sam").get("/queue").text
    (device,) = site.script("sam").get("/api/v1/queue").json()["devices"]
    assert sentence in device["trouble"]["text"]


def test_your_own_runs_come_first_with_their_places(site: Site) -> None:
    for place in range(1, 60):
        add(site, "tess", position=place)
    mine = add(site, "sam", position=60, expected_start=_start())
    page = site.client("sam").get("/queue").text
    assert page.index(str(mine)) < page.index("Somebody else")
    assert 'rel="next"' in page
    assert "any moment now" in page


def _start() -> dict[str, str]:
    return {"earliest": clock.now().isoformat(), "latest": clock.now().isoformat()}


def test_ten_thousand_are_never_loaded(site: Site) -> None:
    with transaction() as session:
        owner = site.people["sam"]
        model = make_run(session, owner, position=1)
        for place in range(2, 400):
            values = {"base_model_id": model.base_model_id, "dataset_id": model.dataset_id}
            make_run(session, owner, position=place, **values)
    with transaction() as session:
        line(session, owner, Cursor(), 40)
        assert not [each for each in session if isinstance(each, Run)]
