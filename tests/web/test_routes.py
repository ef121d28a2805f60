"""Every route, logged out, as a student, an instructor and an admin; and the headers of all."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.utils import get_openapi
from sqlalchemy import select
from starlette.testclient import TestClient

from app.database import transaction
from app.main import create_app
from app.models import Classroom, RunState
from tests.support.factories import make_device, make_run
from tests.support.factories_class import make_session
from tests.support.site import BASE_URL, Site

# Who may call what. "own": any signed-in person, and an object of somebody else's is 404.
PUBLIC = {
    "GET /enter/{token}", "GET /login", "POST /login", "POST /logout", "POST /account/session/end",
    "POST /account/language", "POST /account/theme", "GET /healthz", "GET /readyz", "GET /version",
}  # fmt: skip
ADMIN = {
    "GET /admin/people", "POST /admin/people", "POST /admin/people/{user_id}/link",
    "POST /admin/people/{user_id}/disable", "POST /admin/people/{user_id}/enable",
    "GET /admin/devices", "POST /admin/devices/{name}/drain", "POST /admin/devices/{name}/resume",
    "GET /admin/devices/banner", "POST /admin/devices/{name}/pause",
    "POST /classrooms", "GET /classrooms/{classroom_id}/people",
    "POST /classrooms/{classroom_id}/people",
    "POST /classrooms/{classroom_id}/people/{user_id}/removal",
    "GET /admin/audit", "GET /admin/storage", "GET /metrics", "POST /library",
    "POST /library/hub", "POST /library/hub/{model_id}/cancellation",
    "POST /library/hub/{model_id}/retry", "POST /library/{model_id}/check",
    "POST /library/{model_id}/retirement", "POST /library/{model_id}/retirement/removal",
}  # fmt: skip
SIGNED_IN = {
    "GET /", "GET /labs", "GET /labs/{slug}", "GET /labs/{slug}/runs/new", "GET /runs",
    "GET /queue", "GET /datasets", "GET /library", "GET /account", "GET /help", "GET /compare",
    "POST /labs/{slug}/runs", "POST /labs/{slug}/estimate", "POST /datasets",
    "POST /datasets/uploads",
    "POST /account/password", "POST /account/sessions/end", "POST /account/tokens",
    "GET /api/v1/labs", "GET /api/v1/labs/{slug}", "GET /api/v1/models", "POST /api/v1/estimates", "GET /api/v1/runs",
    "POST /api/v1/runs", "GET /api/v1/datasets", "POST /api/v1/datasets", "GET /api/v1/queue", "GET /api/v1/queue/line",
    "GET /api/v1/devices", "GET /api/v1/compare", "GET /classrooms",
    "GET /scoreboards", "GET /scoreboards/new", "POST /scoreboards",
    "GET /api/v1/scoreboards", "POST /api/v1/scoreboards",
    "GET /groups", "GET /labs/{slug}/sweeps/new", "POST /labs/{slug}/sweeps",
    "POST /labs/{slug}/sweeps/preview", "GET /api/v1/sweeps", "POST /api/v1/sweeps",
}  # fmt: skip
OWN = {
    "GET /scoreboards/{group_id}", "GET /scoreboards/{group_id}/table.csv",
    "POST /scoreboards/{group_id}/cancellation", "GET /api/v1/scoreboards/{group_id}",
    "POST /api/v1/scoreboards/{group_id}/cancellation",
    "GET /groups/{group_id}", "GET /sweeps/{sweep_id}", "GET /sweeps/{sweep_id}/cancellation/new",
    "POST /sweeps/{sweep_id}/cancellation", "GET /api/v1/sweeps/{sweep_id}",
    "POST /api/v1/sweeps/{sweep_id}/cancellation",
    "GET /runs/{run_id}", "GET /runs/{run_id}/turn", "GET /api/v1/runs/{run_id}/turn", "GET /runs/{run_id}/cancellation/new", "POST /runs/{run_id}/cancellation",
    "POST /runs/{run_id}/release", "POST /runs/{run_id}/boost",
    "POST /runs/{run_id}/resubmission", "POST /api/v1/runs/{run_id}/resubmission",
    "POST /api/v1/runs/{run_id}/release", "GET /runs/{run_id}/report",
    "POST /runs/{run_id}/same-work", "POST /api/v1/runs/{run_id}/same-work",
    "GET /runs/{run_id}/deletion/new", "POST /runs/{run_id}/deletion",
    "POST /api/v1/runs/{run_id}/deletion",
    "POST /runs/{run_id}/boost/removal", "GET /runs/{run_id}/events", "GET /datasets/{dataset_id}",
    "POST /datasets/{dataset_id}/deletion", "GET /datasets/{dataset_id}/deletion/new",
    "GET /datasets/{dataset_id}/file", "POST /datasets/{dataset_id}/shares",
    "POST /datasets/{dataset_id}/shares/{classroom_id}/deletion",
    "PUT /datasets/uploads/{key}", "POST /datasets/uploads/{key}/completion",
    "POST /datasets/uploads/{key}/deletion",
    "POST /account/tokens/{token_id}/deletion",
    "GET /api/v1/runs/{run_id}", "POST /api/v1/runs/{run_id}/cancellation",
    "GET /api/v1/runs/{run_id}/metrics", "GET /api/v1/runs/{run_id}/events",
    "GET /api/v1/runs/{run_id}/log", "GET /api/v1/runs/{run_id}/artifacts",
    "GET /api/v1/runs/{run_id}/artifacts/{name}",
    "GET /api/v1/runs/{run_id}/artifacts/{name}/{path}", "GET /api/v1/runs/{run_id}/notebook",
    "GET /api/v1/datasets/{dataset_id}", "GET /library/{model_id}", "GET /api/v1/models/{model_id}",
}  # fmt: skip
# Of a run that serves a model: tests/endpoints walks them with one that does.
SERVING = {
    "GET /runs/{run_id}/endpoint", "POST /runs/{run_id}/endpoint/keys",
    "POST /runs/{run_id}/endpoint/keys/{key_id}/revocation", "POST /runs/{run_id}/endpoint/trial",
    "POST /runs/{run_id}/endpoint/extension", "POST /runs/{run_id}/endpoint/closing",
    "GET /api/v1/runs/{run_id}/endpoint", "GET /api/v1/runs/{run_id}/endpoint/keys",
    "POST /api/v1/runs/{run_id}/endpoint/keys",
    "POST /api/v1/runs/{run_id}/endpoint/keys/{key_id}/revocation",
    "POST /api/v1/runs/{run_id}/endpoint/extension", "POST /api/v1/runs/{run_id}/endpoint/closing",
}  # fmt: skip
OWN |= SERVING
# Opened by the key of a served model and by nothing else.
KEYED = {
    "GET /serve/{run_id}/v1/models", "GET /serve/{run_id}/v1/models/{model}",
    "POST /serve/{run_id}/v1/chat/completions", "POST /serve/{run_id}/v1/completions",
}  # fmt: skip
# Of a class: its students see the first alone, people of other classes none.
CLASS = {
    "GET /classrooms/{classroom_id}", "GET /classrooms/{classroom_id}/sessions",
    "GET /classrooms/{classroom_id}/limits", "POST /classrooms/{classroom_id}/limits",
    "POST /classrooms/{classroom_id}/sessions", "POST /classrooms/{classroom_id}/sessions/now",
    "POST /classrooms/{classroom_id}/sessions/{session_id}/extension",
    "POST /classrooms/{classroom_id}/sessions/{session_id}/end",
}  # fmt: skip
EVERY = sorted(PUBLIC | ADMIN | SIGNED_IN | OWN | CLASS | KEYED)


def routes_of(site: Site) -> set[str]:
    paths: dict[str, dict[str, Any]] = get_openapi(
        title="all", version="1", routes=site.app.routes
    )["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def address(template: str, **values: str) -> str:
    known = {"slug": "lora", "name": "cpu", "path": "x", "token": "x", **values}
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], known.get("id", "")), template)


def ask(client: TestClient, route: str, **values: str) -> int:
    method, _, template = route.partition(" ")
    return client.request(method, address(template, **values)).status_code


@pytest.fixture
def sams(site: Site) -> str:
    """A run of sam's that is over, so that its stream ends."""
    with transaction() as session:
        make_device(session)
        return str(make_run(session, site.people["sam"], state=RunState.FAILED).id)


def test_every_route_stands_in_this_matrix(site: Site) -> None:
    assert sorted(routes_of(site)) == EVERY


@pytest.mark.parametrize("route", sorted(set(EVERY) - PUBLIC))
def test_strangers_are_sent_to_sign_in(site: Site, sams: str, route: str) -> None:
    api = "/api/" in route
    status = ask(site.client(), route, id=sams)
    if route == "GET /metrics":
        assert status == 403
    elif route.startswith("GET") and not api and route not in KEYED:
        assert status == 303
    else:
        assert status == 401


@pytest.mark.parametrize("route", sorted(ADMIN))
def test_only_admins_run_the_box(site: Site, sams: str, route: str) -> None:
    tess = str(site.people["tess"].id)
    with transaction() as session:
        tuesday = session.scalars(select(Classroom.id).where(Classroom.name == "Tuesday")).one()
    values = {"id": tess, "classroom_id": str(tuesday)}
    for name in ("sam", "maria"):
        assert ask(site.client(name), route, **values) == 403
    # There is no such base model, and none on its way.
    none = (404, 409) if "/library/" in route else ()
    assert ask(site.client("ada"), route, **values) in (200, 201, 303, 422, *none)


@pytest.mark.parametrize("route", sorted(SIGNED_IN))
def test_everybody_who_is_signed_in_may(site: Site, route: str) -> None:
    for name in ("sam", "maria", "ada"):
        assert ask(site.client(name), route) in (200, 201, 303, 422)


@pytest.mark.parametrize("route", sorted(route for route in OWN if "{run_id}" in route))
def test_a_run_is_its_owners_and_their_instructors(site: Site, sams: str, route: str) -> None:
    for name in ("tess", "tariq"):
        assert ask(site.client(name), route, id=sams) == 404
    seen = {ask(site.client(name), route, id=sams) for name in ("sam", "maria", "ada")}
    if route in SERVING:
        assert seen == {404}  # the run is found, and serves no model
        return
    # Not for a student, or only for the owner; the others find it over.
    if any(act in route for act in ("release", "boost", "same-work")):
        assert seen == {403, 409}
    elif route.endswith("deletion/new"):
        assert seen == {200, 403}  # an instructor looks on
    elif route.endswith("/deletion"):
        assert seen in ({200, 404}, {303, 404})  # sam's own deed; then it is gone for all
    elif "resubmission" in route:
        assert seen == {403, 422}  # the owner's base model is not on this disk
    elif "cancellation" in route and route.startswith("POST"):
        assert seen == {409}
    elif "{name}" in route:
        assert seen == {404}  # the run is found, and has no such artifact
    else:
        assert seen == {200}


@pytest.mark.parametrize("route", sorted(CLASS))
def test_a_class_is_its_own_peoples_and_its_instructors_steer_it(site: Site, route: str) -> None:
    with transaction() as session:
        monday = session.scalars(select(Classroom).where(Classroom.name == "Monday")).one()
        planned = make_session(session, monday, site.people["maria"])
    values = {"classroom_id": str(monday.id), "session_id": str(planned.id)}
    for name in ("tess", "tariq"):
        assert ask(site.client(name), route, **values) == 404
    is_the_page = route.endswith("{classroom_id}")
    assert ask(site.client("sam"), route, **values) == (200 if is_the_page else 403)
    assert ask(site.client("maria"), route, **values) in (200, 303, 422)
    assert ask(site.client("ada"), route, **values) in (200, 303, 409, 422)


@pytest.mark.parametrize("route", sorted(OWN | CLASS))
def test_what_does_not_exist_is_not_found(site: Site, route: str) -> None:
    nothing = "00000000-0000-7000-8000-000000000000"
    for key in (nothing, "1", "%00", "..%2fx", "x" * 400):
        assert ask(site.client("ada"), route, id=key) in (400, 404)


@pytest.mark.parametrize(
    "path", ["/login", "/", "/nothing", "/static/none", "/api/v1/runs", "/healthz"]
)
def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    headers = site.client().get(path).headers
    policy = headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    for name in ("referrer-policy", "cross-origin-opener-policy", "permissions-policy"):
        assert name in headers


def test_pages_hold_no_inline_script_or_style(site: Site, sams: str) -> None:
    client = site.client("ada")
    for path in ("/login", "/", "/account", "/admin/people", "/admin/devices", f"/runs/{sams}"):
        page = client.get(path).text
        scripts = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page)
        assert scripts == [], path
        assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page) == [], path


def test_a_fault_of_ours_is_a_plain_500_with_headers(site: Site) -> None:
    app = create_app()

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret detail")

    client = TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)
    answer = client.get("/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers


OUTSIDE = "https://evil.test"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": BASE_URL}, False),
        ({"origin": BASE_URL}, True),
        ({"origin": OUTSIDE}, False),
        ({"origin": "null"}, False),
        ({"origin": BASE_URL + ".evil.test"}, False),
        ({}, False),
    ],
)
def test_forms_of_other_sites_change_nothing(
    site: Site, headers: dict[str, str], allowed: bool
) -> None:
    client = site.client("sam")
    del client.headers["origin"]
    answer = client.post("/account/tokens", headers=headers)
    assert answer.status_code == (201 if allowed else 403)
    assert allowed or "Reload the page" in answer.text


def test_signing_in_is_guarded_too_and_a_bearer_token_is_not(site: Site) -> None:
    stranger = TestClient(site.app, base_url=BASE_URL, headers={"Origin": OUTSIDE})
    assert stranger.post("/login", data={"name": "sam"}).status_code == 403
    script = site.script("sam")
    assert script.post("/api/v1/runs", json={}, headers={"Origin": OUTSIDE}).status_code == 422


def test_a_large_form_is_413(site: Site) -> None:
    client = site.client("sam")
    assert client.post("/account/password", data={"password": "x" * 2_000_000}).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/account/password", content=pieces(), headers=form).status_code == 413


def test_static_files_are_kept_for_ever_only_under_their_version(site: Site) -> None:
    client = site.client()
    page = client.get("/login").text
    url = re.findall(r'href="(/static/[^"]+\.css)"', page)[0]
    assert "immutable" in client.get(url).headers["cache-control"]
    old = re.sub(r"/static/[^/]+/", "/static/000000000000/", url)
    assert client.get(old).headers["cache-control"] == "no-cache"
    assert client.get("/static/x/../../app/main.py").status_code == 404
