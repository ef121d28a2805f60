"""What instructors do to runs and accounts: boosts, shutting out; and that it is written down."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.openapi.utils import get_openapi
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import clock
from app.audit.queries import PAGE
from app.audit.record import record
from app.audit.sentences import SENTENCES
from app.database import reading, transaction
from app.models import (
    AuditEntry,
    Classroom,
    DatasetShare,
    GroupKind,
    LoginSession,
    Run,
    RunGroup,
    RunState,
    User,
)
from tests.support.factories import make_dataset, make_device, make_model, make_run
from tests.support.factories_class import make_session
from tests.support.site import Site


def entries() -> list[AuditEntry]:
    with reading() as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


def acts() -> list[str]:
    return [each.action for each in entries()]


def add_run(site: Site, owner: str, state: RunState = RunState.QUEUED, **values: Any) -> UUID:
    with transaction() as session:
        return make_run(session, site.people[owner], state=state, **values).id


def find(run_id: UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def class_id(name: str = "Monday") -> UUID:
    with reading() as session:
        return session.scalars(select(Classroom.id).where(Classroom.name == name)).one()


def test_an_instructor_moves_a_run_up_and_puts_it_back(site: Site) -> None:
    run_id = add_run(site, "sam")
    maria = site.client("maria")
    answer = maria.post(f"/runs/{run_id}/boost", data={"next": f"/classrooms/{class_id()}"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/classrooms/{class_id()}")
    assert find(run_id).boosted_at is not None
    assert "moved up" in maria.get(f"/classrooms/{class_id()}").text
    answer = maria.post(f"/runs/{run_id}/boost/removal", data={"next": "https://evil.test/"})
    assert answer.headers["location"] == "/"
    assert find(run_id).boosted_at is None
    assert acts()[-2:] == ["boost_run", "unboost_run"]


def test_nobody_else_moves_a_run_up(site: Site) -> None:
    run_id = add_run(site, "sam")
    assert site.client("sam").post(f"/runs/{run_id}/boost").status_code == 403
    assert site.client("tariq").post(f"/runs/{run_id}/boost").status_code == 404
    assert find(run_id).boosted_at is None
    assert "boost_run" not in acts()


def test_what_no_longer_waits_is_not_moved_and_says_so(site: Site) -> None:
    run_id = add_run(site, "sam", RunState.RUNNING, attempt=1, device="cpu")
    answer = site.client("maria").post(f"/runs/{run_id}/boost")
    assert answer.status_code == 409
    assert "does not wait any more" in answer.text


def test_a_disabled_person_is_signed_out_and_their_runs_end(site: Site) -> None:
    sams = site.client("sam")
    kept = add_run(site, "sam", RunState.SUCCEEDED)
    waiting, held = add_run(site, "sam"), add_run(site, "sam", RunState.HELD)
    running = add_run(site, "sam", RunState.RUNNING, attempt=1, device="cpu")
    others = add_run(site, "tess")
    ada = site.client("ada")
    assert "3 unfinished runs are cancelled." in ada.get("/admin/people").text
    assert ada.post(f"/admin/people/{site.people['sam'].id}/disable").status_code == 303
    assert [find(each).state for each in (waiting, held)] == [RunState.CANCELLED] * 2
    assert find(running).cancel_requested_at is not None
    assert find(kept).state is RunState.SUCCEEDED
    assert find(others).state is RunState.QUEUED
    assert sorted(acts()[-4:]) == [*["cancel_run"] * 3, "user.disable"]
    assert sams.get("/").status_code == 303
    with reading() as session:
        own = select(LoginSession).where(LoginSession.user_id == site.people["sam"].id)
        assert session.scalars(own).all() == []


def test_who_cannot_disable_themselves_keeps_their_runs(site: Site) -> None:
    run_id = add_run(site, "ada")
    answer = site.client("ada").post(f"/admin/people/{site.people['ada'].id}/disable")
    assert answer.status_code == 422
    assert find(run_id).state is RunState.QUEUED


Way = tuple[str, str, dict[str, str], str]
HOURS = {"day": "2031-03-02", "from": "09:00", "until": "12:00"}
# Who does what where with which form, and the line that the audit log gets of it.
PRIVILEGED: tuple[Way, ...] = (
    ("maria", "/runs/{run_id}/boost", {}, "boost_run"),
    ("maria", "/runs/{boosted_id}/boost/removal", {}, "unboost_run"),
    ("maria", "/runs/{held_id}/release", {}, "release_run"),
    ("maria", "/api/v1/runs/{held_id}/release", {}, "release_run"),
    ("ada", "/runs/{over_id}/deletion", {}, "delete_run"),
    ("ada", "/api/v1/runs/{over_id}/deletion", {}, "delete_run"),
    ("maria", "/runs/{run_id}/cancellation", {}, "cancel_run"),
    ("maria", "/api/v1/runs/{held_id}/cancellation", {}, "cancel_run"),
    ("maria", "/classrooms/{classroom_id}/sessions", HOURS, "session_scheduled"),
    ("maria", "/classrooms/{classroom_id}/sessions/now", {"hours": "2"}, "session_scheduled"),
    ("maria", "/classrooms/{classroom_id}/sessions/{session_id}/extension", {"minutes": "30"},
     "session_changed"),
    ("maria", "/classrooms/{classroom_id}/sessions/{session_id}/end", {}, "session_ended"),
    ("maria", "/classrooms/{classroom_id}/limits", {"max_waiting": "7"}, "limits_changed"),
    ("ada", "/classrooms", {"name": "Wednesday"}, "class_created"),
    ("ada", "/classrooms/{classroom_id}/people", {"names": "tess"}, "class_joined"),
    ("ada", "/classrooms/{classroom_id}/people/{member_id}/removal", {}, "class_left"),
    ("ada", "/admin/devices/{name}/drain", {"reason": "new fan"}, "device_drained"),
    ("ada", "/admin/devices/{name}/pause", {}, "device_paused"),
    ("ada", "/admin/devices/{name}/resume", {}, "device_active"),
    ("ada", "/admin/people", {"name": "zoe", "role": "student"}, "user.add"),
    ("ada", "/admin/people/{user_id}/link", {}, "user.link"),
    ("ada", "/admin/people/{user_id}/disable", {}, "user.disable"),
    ("ada", "/admin/people/{user_id}/enable", {}, "user.enable"),
    ("maria", "/sweeps/{sweep_id}/cancellation", {}, "cancel_run"),
    ("maria", "/api/v1/sweeps/{sweep_id}/cancellation", {}, "cancel_run"),
    ("maria", "/scoreboards/{group_id}/cancellation", {}, "cancel_run"),
    ("maria", "/api/v1/scoreboards/{group_id}/cancellation", {}, "cancel_run"),
    ("maria", "/datasets/{dataset_id}/shares", {"classroom": "{classroom_id}"}, "dataset_shared"),
    ("maria", "/datasets/{shared_id}/shares/{classroom_id}/deletion", {}, "dataset_unshared"),
    ("ada", "/library/{model_id}/retirement", {}, "model.retire"),
    ("ada", "/library/{retired_id}/retirement/removal", {}, "model.return"),
)  # fmt: skip
# Adding, checking and fetching models: tests/web/test_library.py and test_library_hub.py walk them.
OF_FILES = {
    "/library", "/library/{model_id}/check", "/library/hub", "/library/hub/{model_id}/cancellation",
    "/library/hub/{model_id}/retry",
}  # fmt: skip
# Steering a served model and keys to it: tests/endpoints/test_pages.py walks them.
OF_ENDPOINTS = {
    *(f"{way}/runs/{{run_id}}/endpoint/{deed}"
      for way in ("", "/api/v1")
      for deed in ("keys", "keys/{key_id}/revocation", "extension", "closing")),
    "/runs/{run_id}/endpoint/trial", "/serve/{run_id}/v1/chat/completions",
    "/serve/{run_id}/v1/completions",
}  # fmt: skip
# What people do with what is theirs.
OF_ONES_OWN = {
    "/login", "/logout", "/account/session/end", "/account/language", "/account/theme",
    "/account/password", "/account/sessions/end", "/account/tokens",
    "/account/tokens/{token_id}/deletion", "/datasets", "/datasets/{dataset_id}/deletion",
    "/labs/{slug}/runs", "/labs/{slug}/estimate", "/api/v1/estimates", "/api/v1/runs",
    "/api/v1/datasets", "/runs/{run_id}/same-work", "/api/v1/runs/{run_id}/same-work",
    "/runs/{run_id}/resubmission", "/api/v1/runs/{run_id}/resubmission",
    "/datasets/uploads", "/datasets/uploads/{key}", "/datasets/uploads/{key}/completion",
    "/datasets/uploads/{key}/deletion", "/labs/{slug}/sweeps", "/labs/{slug}/sweeps/preview",
    "/api/v1/sweeps", "/scoreboards", "/api/v1/scoreboards",
}  # fmt: skip


@pytest.fixture
def things(site: Site) -> dict[str, str]:
    """What the routes name: Monday's class, its session of tomorrow, runs of sam's, alone and in
    groups, datasets of maria's and models."""
    begins = clock.now() + timedelta(days=1)
    with transaction() as session:
        make_device(session)
        monday = session.get_one(Classroom, class_id())
        hours = {"starts_at": begins, "ends_at": begins + timedelta(hours=2)}
        maria, sam = site.people["maria"], site.people["sam"]
        planned = make_session(session, monday, maria, **hours)
        groups = {kind: _group(session, sam, kind) for kind in GroupKind}
        datasets = [make_dataset(session, owner_id=maria.id) for _ in range(2)]
        models = [make_model(session, retired_at=at) for at in (None, clock.now())]
        share = {"dataset_id": datasets[1].id, "classroom_id": monday.id}
        session.add(DatasetShare(**share, shared_by_id=maria.id, created_at=clock.now()))
    return {
        "sweep_id": str(groups[GroupKind.SWEEP]),
        "group_id": str(groups[GroupKind.SCOREBOARD]),
        "dataset_id": str(datasets[0].id),
        "shared_id": str(datasets[1].id),
        "model_id": str(models[0].id),
        "retired_id": str(models[1].id),
        "run_id": str(add_run(site, "sam")),
        "boosted_id": str(add_run(site, "sam", boosted_at=clock.now())),
        "held_id": str(add_run(site, "sam", RunState.HELD)),
        "over_id": str(add_run(site, "sam", RunState.FAILED)),
        "classroom_id": str(monday.id),
        "session_id": str(planned.id),
        "user_id": str(site.people["tess"].id),
        "member_id": str(site.people["sam"].id),
        "name": "cpu",
    }


def _group(session: Session, owner: User, kind: GroupKind) -> UUID:
    """Two runs of sam's that were started as one."""
    group = RunGroup(
        owner_id=owner.id, kind=kind, name=kind, lab="lora", spec={}, created_at=clock.now()
    )
    session.add(group)
    session.flush()
    for place in range(2):
        make_run(session, owner, group_id=group.id, group_place=place)
    return group.id


@pytest.mark.parametrize("way", PRIVILEGED, ids=lambda way: way[1])
def test_every_privileged_act_is_a_readable_line(
    site: Site, things: dict[str, str], way: Way
) -> None:
    who, address, form, action = way
    client, known = site.client(who), len(acts())
    data = {field: value.format(**things) for field, value in form.items()}
    answer = client.post(address.format(**things), data=data)
    assert answer.status_code in (200, 201, 202, 303), answer.text
    added = entries()[known:]
    assert action in {each.action for each in added}
    assert {each.actor_id for each in added} == {site.people[who].id}
    assert {each.action for each in added} <= set(SENTENCES)
    log = site.client("ada").get("/admin/audit", params={"action": action})
    assert re.search(SENTENCES[action].format(target="<(strong|a)[^>]*>[^<]+<.*?"), log.text)


def test_every_route_that_changes_something_is_privileged_or_about_ones_own(site: Site) -> None:
    paths = get_openapi(title="all", version="1", routes=site.app.routes)["paths"]
    changing = {path for path, methods in paths.items() if set(methods) != {"get"}}
    same = {
        **{"boosted_id": "run_id", "held_id": "run_id", "over_id": "run_id"},
        "member_id": "user_id",
        **{"shared_id": "dataset_id", "retired_id": "model_id"},
    }
    walked = {
        re.sub("|".join(same), lambda found: same[found[0]], address)
        for _, address, _, _ in PRIVILEGED
    }
    assert changing == walked | OF_ONES_OWN | OF_FILES | OF_ENDPOINTS


def test_the_log_is_narrowed_to_an_act_or_a_person_and_paged(
    site: Site, things: dict[str, str]
) -> None:
    maria, ada = site.client("maria"), site.client("ada")
    maria.post(f"/runs/{things['run_id']}/boost")
    with transaction() as session:
        for number in range(PAGE + 1):
            record(session, site.people["tariq"], "user.link", f"person-{number}")
    assert "moved" not in log_of(ada)
    assert "moved" in log_of(ada, action="boost_run")
    assert "person-" not in log_of(ada, action="boost_run")
    assert "moved" in log_of(ada, person=str(site.people["maria"].id))
    tariqs = {"person": str(site.people["tariq"].id)}
    first = ada.get("/admin/audit", params=tariqs).text
    following = re.search(r'href="(/admin/audit[^"]+before=[^"]+)"', first)
    assert following is not None
    second = ada.get(following[1].replace("&amp;", "&")).text
    on_pages = [set(re.findall(r"person-(\d+)<", each)) for each in (first, second)]
    assert list(map(len, on_pages)) == [PAGE, 1]
    assert not on_pages[0] & on_pages[1]
    assert ada.get("/admin/audit?before=x&person=y&action=%27").status_code == 200


def log_of(admin: TestClient, **filters: str) -> str:
    """The table of the log, without the lists to choose from."""
    return admin.get("/admin/audit", params=filters).text.partition("<tbody>")[2]
