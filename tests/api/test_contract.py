"""What INTERFACE.md promises scripts: every call, its status and its fields."""

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from app import clock
from app.api.estimates import Estimate
from app.database import transaction
from app.library.register import sync_bundled
from app.metrics import store
from app.metrics.chunk import MetricRow
from app.models import Artifact, RunState
from app.runs.feed import Cursor, read_batch
from app.settings import get_settings
from tests.support.factories import NOON, make_attempt, make_device, make_run
from tests.support.site import Site

ROWS = "".join(
    json.dumps({"instruction": f"question {n}", "output": f"answer {n}"}) + "\n" for n in range(20)
)


@pytest.fixture
def script(site: Site) -> TestClient:
    return site.script("sam")


def sam_run(site: Site, **values: Any) -> UUID:
    with transaction() as session:
        run = make_run(session, site.people["sam"], **values)
        if run.attempt:
            make_attempt(session, run, run.attempt)
        return run.id


def problem(answer: Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= set(body)
    assert body["status"] == status
    return body


def test_without_a_token_everything_is_401(site: Site) -> None:
    answer = site.client().get("/api/v1/runs")
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    wrong = {"Authorization": "Bearer wrong"}
    problem(site.client("sam", **wrong).get("/api/v1/runs"), 401)


def test_a_signed_in_browser_may_read(site: Site) -> None:
    assert site.client("sam").get("/api/v1/runs").status_code == 200


def test_labs_describe_themselves(script: TestClient) -> None:
    labs = script.get("/api/v1/labs").json()["labs"]
    lora = script.get("/api/v1/labs/lora").json()
    assert lora in labs
    fields = {
        "slug",
        "chapter",
        "title",
        "titles",
        "stages",
        "metrics",
        "params",
        "accepts",
        "produces",
    }
    assert fields <= set(lora)
    assert {"key", "unit", "direction"} <= set(lora["metrics"][0])
    assert lora["params"]["type"] == "object"
    assert lora["params"]["properties"]["steps"]["title"]
    problem(script.get("/api/v1/labs/nothing"), 404)


def test_datasets_are_checked_and_kept(site: Site, script: TestClient) -> None:
    made = script.post("/api/v1/datasets", files={"file": ("my rows.jsonl", ROWS)})
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["name"], body["format"], body["rows"]) == ("my-rows", "alpaca", 20)
    assert sum(body["splits"].values()) == 20
    assert len(body["sha256"]) == 64
    assert script.get(made.headers["location"]).json()["preview"][0]["answer"] == "answer 0"
    again = script.post("/api/v1/datasets", files={"file": ("other.jsonl", ROWS)})
    assert again.json()["id"] == body["id"]
    listed = script.get("/api/v1/datasets").json()["datasets"]
    assert [each["id"] for each in listed] == [body["id"]]
    assert site.script("tess").get("/api/v1/datasets").json()["datasets"] == []
    problem(site.script("tess").get(f"/api/v1/datasets/{body['id']}"), 404)


def test_a_bad_dataset_says_its_lines_and_is_not_kept(site: Site, script: TestClient) -> None:
    rows = ROWS + '{"instruction": "no answer"}\nnot json\n'
    body = problem(script.post("/api/v1/datasets", files={"file": ("x.jsonl", rows)}), 422)
    assert [each["field"] for each in body["errors"]] == ["file", "file"]
    assert body["errors"][0]["message"] == "Line 21: The column “output” is missing."
    assert body["errors"][1]["message"].startswith("Line 22: ")
    assert script.get("/api/v1/datasets").json()["datasets"] == []
    kept = [path for path in get_settings().datasets_dir.rglob("*") if path.is_file()]
    assert kept == []


@pytest.mark.parametrize("sent", [{}, {"files": {"file": ("", b"")}}, {"data": {"file": "text"}}])
def test_a_form_without_a_file_says_so(script: TestClient, sent: dict[str, Any]) -> None:
    body = problem(script.post("/api/v1/datasets", **sent), 422)
    assert body["errors"][0]["field"] == "file"


def test_a_file_over_the_limit_is_413(
    site: Site, script: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MAX_UPLOAD_BYTES", "1000")
    get_settings.cache_clear()
    problem(script.post("/api/v1/datasets", files={"file": ("x.jsonl", "x" * 2_000_000)}), 413)
    small = script.post("/api/v1/datasets", files={"file": ("x.jsonl", ROWS)})
    assert "larger than" in problem(small, 422)["errors"][0]["message"]


def test_a_run_tells_everything_about_itself(site: Site, script: TestClient) -> None:
    run_id = sam_run(
        site, state=RunState.RUNNING, attempt=1, device="cpu", stages=["setup", "train"]
    )
    body = script.get(f"/api/v1/runs/{run_id}").json()
    expected = {
        "id", "state", "cause", "stages", "params", "seed", "environment", "device", "lineage",
        "metrics", "artifacts", "attempts", "attempt", "links", "owner", "base_model", "dataset",
    }  # fmt: skip
    assert expected <= set(body)
    assert [stage["name"] for stage in body["stages"]] == ["setup", "train"]
    assert body["lineage"]["parent_run"] is None
    links = (
        "self", "page", "events", "metrics", "log", "artifacts", "notebook", "cancellation",
        "resubmission", "deletion",
    )  # fmt: skip
    assert set(body["links"]) == set(links)


def test_runs_are_listed_newest_first_in_pages(site: Site, script: TestClient) -> None:
    ids = [str(sam_run(site)) for _ in range(5)]
    first = script.get("/api/v1/runs?limit=3").json()
    assert [run["id"] for run in first["runs"]] == ids[::-1][:3]
    rest = script.get(f"/api/v1/runs?limit=3&cursor={first['next_cursor']}").json()
    assert [run["id"] for run in rest["runs"]] == ids[::-1][3:]
    assert rest["next_cursor"] is None
    assert script.get("/api/v1/runs?state=failed").json()["runs"] == []
    assert len(script.get(f"/api/v1/runs?owner={site.people['sam'].id}").json()["runs"]) == 5


@pytest.mark.parametrize(
    "query", ["state=odd", "limit=0", "limit=1e9", "cursor=x", "owner=me", "classroom=1"]
)
def test_odd_filters_are_422(script: TestClient, query: str) -> None:
    body = problem(script.get(f"/api/v1/runs?{query}"), 422)
    assert body["errors"][0]["field"] == query.split("=")[0]


def test_cancelling_is_202_and_over_is_409(site: Site, script: TestClient) -> None:
    run_id = sam_run(site)
    first = script.post(f"/api/v1/runs/{run_id}/cancellation")
    assert (first.status_code, first.json()["state"]) == (202, "cancelled")
    problem(script.post(f"/api/v1/runs/{run_id}/cancellation"), 409)
    problem(site.script("tess").post(f"/api/v1/runs/{run_id}/cancellation"), 404)


def logged(run_id: UUID, values: dict[str, list[float]]) -> None:
    with transaction() as session:
        count = len(next(iter(values.values())))
        rows = [
            MetricRow(step, float(step), {key: each[step] for key, each in values.items()})
            for step in range(count)
        ]
        store.append(session, run_id, 1, rows)


def test_metrics_are_thinned_out_without_losing_extremes(site: Site, script: TestClient) -> None:
    run_id = sam_run(site, state=RunState.RUNNING, attempt=1)
    values = np.sin(np.arange(5000) / 50).tolist()
    values[1234], values[4321] = 99.0, math.nan
    logged(run_id, {"train/loss": values, "train/lr": [0.1] * 5000})
    body = script.get(f"/api/v1/runs/{run_id}/metrics?keys=train/loss,absent&points=100").json()
    assert list(body["series"]) == ["train/loss"]
    series = body["series"]["train/loss"]
    assert series["total"] == 5000
    assert len(series["steps"]) == len(series["values"]) < 200
    assert 99.0 in series["values"]
    assert series["values"][series["steps"].index(4321)] == "NaN"
    window = script.get(f"/api/v1/runs/{run_id}/metrics?from=1000&to=1009").json()
    assert window["series"]["train/loss"]["steps"] == list(range(1000, 1010))


@pytest.mark.parametrize("query", ["points=0", "points=x", "from=9&to=1", "from=-1", "to=1e99"])
def test_odd_windows_are_422(site: Site, script: TestClient, query: str) -> None:
    problem(script.get(f"/api/v1/runs/{sam_run(site)}/metrics?{query}"), 422)


def test_the_log_is_text_and_may_be_cut_to_its_end(site: Site, script: TestClient) -> None:
    run_id = sam_run(site)
    assert script.get(f"/api/v1/runs/{run_id}/log").text == ""
    folder = get_settings().run_dir(run_id)
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("one\n<b>two</b>\nthree\n")
    whole = script.get(f"/api/v1/runs/{run_id}/log")
    assert whole.text == "one\n<b>two</b>\nthree\n"
    assert whole.headers["content-type"].startswith("text/plain")
    assert "sandbox" in whole.headers["content-security-policy"]
    assert script.get(f"/api/v1/runs/{run_id}/log?tail=1").text == "three\n"


def with_artifact(site: Site) -> tuple[UUID, Path]:
    run_id = sam_run(site, state=RunState.SUCCEEDED, attempt=1)
    folder = get_settings().run_dir(run_id) / "artifacts" / "adapter"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 10)
    (folder / "deep" / "page.html").write_text("<script>alert(1)</script>")
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    with transaction() as session:
        session.add(
            Artifact(
                run_id=run_id, name="adapter", kind="lora_adapter", path="artifacts/adapter",
                bytes=2560, sha256="ab" * 32, step=10, attempt=1, created_at=NOON,
            )
        )  # fmt: skip
    return run_id, folder


def test_artifacts_are_listed_and_downloaded_whole(site: Site, script: TestClient) -> None:
    run_id, _folder = with_artifact(site)
    url = f"/api/v1/runs/{run_id}/artifacts"
    (listed,) = script.get(url).json()["artifacts"]
    assert (listed["name"], listed["kind"], listed["step"]) == ("adapter", "lora_adapter", 10)
    answer = script.get(listed["links"]["download"])
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["adapter/deep/page.html", "adapter/weights.bin"]
        assert archive.testzip() is None
    part = script.get(f"{url}/adapter", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, answer.content[10:20])
    problem(site.script("tess").get(f"{url}/adapter"), 404)


def test_single_files_come_as_attachments_from_inside_only(site: Site, script: TestClient) -> None:
    run_id, _folder = with_artifact(site)
    url = f"/api/v1/runs/{run_id}/artifacts/adapter"
    page = script.get(f"{url}/deep/page.html")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")
    for path in (
        "../secret.txt",
        "..%2fsecret.txt",
        "%2fetc%2fpasswd",
        "link",
        "deep",
        "%00",
        "x" * 300,
    ):
        assert script.get(f"{url}/{path}").status_code in (400, 404), path
    problem(script.get(f"/api/v1/runs/{run_id}/artifacts/..%2f..%2fx"), 404)


def test_runs_are_compared_on_common_steps(site: Site, script: TestClient) -> None:
    ids = [
        str(sam_run(site, state=RunState.RUNNING, attempt=1, params={"rank": rank, "steps": 3}))
        for rank in (4, 8)
    ]
    logged(UUID(ids[0]), {"eval/loss": [3.0, 2.0, 1.0]})
    logged(UUID(ids[1]), {"eval/loss": [3.0, math.inf]})
    body = script.get(f"/api/v1/compare?runs={','.join(ids)}").json()
    assert [run["id"] for run in body["runs"]] == ids
    assert {"name": "params.rank", "values": [4, 8]} in body["varied"]
    assert "params.steps" not in [row["name"] for row in body["varied"]]
    assert body["series"]["eval/loss"]["steps"] == [0, 1, 2]
    assert body["series"]["eval/loss"]["values"] == {
        ids[0]: [3.0, 2.0, 1.0],
        ids[1]: [3.0, "Infinity", None],
    }
    (row,) = [each for each in body["summary"] if each["key"] == "eval/loss"]
    assert (row["values"], row["direction"]) == ([1.0, "Infinity"], "lower")
    problem(site.script("tess").get(f"/api/v1/compare?runs={ids[0]}"), 404)
    problem(script.get("/api/v1/compare?runs=x"), 422)
    assert script.get("/api/v1/compare").json()["runs"] == []


def test_a_run_becomes_a_notebook(site: Site, script: TestClient) -> None:
    run_id = sam_run(site)
    answer = script.get(f"/api/v1/runs/{run_id}/notebook")
    assert answer.headers["content-disposition"].endswith('.ipynb"')
    assert answer.json()["nbformat"] == 4


@pytest.fixture
def bundled_inputs(site: Site) -> None:
    with transaction() as session:
        sync_bundled(session)


@pytest.mark.usefixtures("bundled_inputs")
def test_the_answer_says_what_the_dispatcher_made_of_the_run(
    site: Site, script: TestClient
) -> None:
    waiting = script.post("/api/v1/runs", json={"lab": "lora", "seed": 1}).json()
    assert (waiting["state"], waiting["queue"]["position"]) == ("queued", 1)
    expected = "No device is active. The run starts when one is."
    assert waiting["queue"]["reason"]["text"] == expected
    with transaction() as session:
        make_device(session, "cpu", heartbeat_at=clock.now())
    placed = [script.post("/api/v1/runs", json={"lab": "lora", "seed": n}).json() for n in (2, 3)]
    assert {each["state"] for each in placed} == {"assigned"}


@pytest.mark.usefixtures("bundled_inputs")
def test_starting_a_run_twice_with_one_key_gives_one_run(site: Site, script: TestClient) -> None:
    body = {"lab": "lora", "params": {"steps": 5}, "seed": 7, "name": "first"}
    headers = {"Idempotency-Key": "once"}
    first, second = (script.post("/api/v1/runs", json=body, headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 201, first.text
    assert first.json()["id"] == second.json()["id"]
    assert {"id", "state", "attempt", "queue", "links"} <= set(first.json())
    assert {"position", "expected_start", "reason"} <= set(first.json()["queue"])
    assert first.json()["queue"]["reason"]["text"]
    made = script.get(first.headers["location"]).json()
    assert (made["seed"], made["name"], made["params"]["steps"]) == (7, "first", 5)
    other = site.script("tess").post("/api/v1/runs", json=body, headers=headers)
    assert other.json()["id"] != first.json()["id"]


@pytest.mark.usefixtures("bundled_inputs")
def test_wrong_fields_are_all_named(script: TestClient) -> None:
    body = {"lab": "lora", "params": {"steps": -1, "rnk": 4}, "dataset": "none", "seed": -5}
    errors = problem(script.post("/api/v1/runs", json=body), 422)["errors"]
    assert {each["field"] for each in errors} == {"steps", "rnk", "dataset", "seed"}
    assert all(each["message"] for each in errors)


@pytest.mark.usefixtures("bundled_inputs")
def test_an_estimate_says_what_fits_where(script: TestClient) -> None:
    with transaction() as session:
        make_device(session, "cpu", memory_bytes=64 * 2**30)
        make_device(session, "cuda:0", memory_bytes=1)
    body = script.post("/api/v1/estimates", json={"lab": "lora"}).json()
    assert sum(body["parts"].values()) > 0
    assert body["seconds"][0] <= body["seconds"][1]
    assert {each["name"]: each["fits"] for each in body["devices"]} == {
        "cpu": True,
        "cuda:0": False,
    }
    assert all(each["reason"]["text"] for each in body["devices"])
    one = script.post("/api/v1/estimates", json={"lab": "lora", "device": "cpu"}).json()
    assert [each["name"] for each in one["devices"]] == ["cpu"]
    assert Estimate.model_validate(body)
    assert Estimate.model_validate(one)
    assert body["alternatives"]
    assert all(each["fits"] for each in body["alternatives"])
    tight = script.post("/api/v1/estimates", json={"lab": "lora", "device": "cuda:0"}).json()
    assert not any(each["fits"] for each in tight["alternatives"])
    wrong = script.post("/api/v1/estimates", json={"lab": "lora", "device": "tpu"})
    assert problem(wrong, 422)["errors"][0]["field"] == "device"


def test_events_are_read_from_one_view(site: Site) -> None:
    run_id = sam_run(site, state=RunState.RUNNING, attempt=1)
    logged(run_id, {"train/loss": [1.0, math.nan]})
    batch = read_batch(run_id, Cursor(0, 0, 0))
    assert batch.cursor == Cursor(2, 0, 0)
    assert b'"values":[1.0,"NaN"]' in batch.messages[0]
    assert read_batch(run_id, batch.cursor).messages == ()


def test_queue_and_devices(site: Site, script: TestClient) -> None:
    waiting, live = (
        sam_run(site, position=1),
        sam_run(site, state=RunState.RUNNING, attempt=1, device="cpu"),
    )
    with transaction() as session:
        make_device(session)
        make_run(session, site.people["tess"], position=2)
    queue = script.get("/api/v1/queue").json()
    assert [run["id"] for run in queue["waiting"]] == [str(waiting)]
    assert [run["id"] for run in queue["live"]] == [str(live)]
    assert queue["waiting_total"] == 2
    (device,) = script.get("/api/v1/devices").json()["devices"]
    assert {"name", "memory_bytes", "telemetry", "state", "silent", "runs"} <= set(device)
    assert [run["id"] for run in device["runs"]] == [str(live)]
    assert site.script("tess").get("/api/v1/devices").json()["devices"][0]["runs"] == []


def test_somebody_elses_run_is_404_everywhere(site: Site) -> None:
    run_id, _folder = with_artifact(site)
    paths = ("", "/metrics", "/events", "/log", "/artifacts", "/artifacts/adapter", "/notebook")
    for name in ("tess", "tariq"):
        script = site.script(name)
        for path in paths:
            problem(script.get(f"/api/v1/runs/{run_id}{path}"), 404)
        assert script.get("/api/v1/runs").json()["runs"] == []
    assert site.script("maria").get(f"/api/v1/runs/{run_id}").status_code == 200
    assert site.script("ada").get(f"/api/v1/runs/{run_id}").status_code == 200


def test_wrong_methods_and_addresses(script: TestClient) -> None:
    problem(script.put("/api/v1/runs"), 405)
    problem(script.get("/api/v1/nothing"), 404)
    problem(script.get("/api/v1/runs/not-a-uuid"), 404)


def test_the_description_lists_every_call(script: TestClient) -> None:
    described = script.get("/api/v1/openapi.json").json()
    assert "fits" in described["components"]["schemas"]["Alternative"]["properties"]
    paths = described["paths"]
    expected = {
        "/labs", "/labs/{slug}", "/estimates", "/runs", "/runs/{run_id}",
        "/runs/{run_id}/cancellation", "/runs/{run_id}/metrics", "/runs/{run_id}/events",
        "/runs/{run_id}/log", "/runs/{run_id}/artifacts", "/runs/{run_id}/artifacts/{name}",
        "/runs/{run_id}/artifacts/{name}/{path}", "/runs/{run_id}/notebook", "/compare",
        "/datasets", "/datasets/{dataset_id}", "/models", "/models/{model_id}", "/queue", "/queue/line", "/runs/{run_id}/turn", "/devices",
            "/runs/{run_id}/release", "/runs/{run_id}/resubmission", "/runs/{run_id}/same-work",
        "/runs/{run_id}/deletion", "/runs/{run_id}/endpoint", "/runs/{run_id}/endpoint/keys",
        "/runs/{run_id}/endpoint/keys/{key_id}/revocation", "/runs/{run_id}/endpoint/extension",
        "/runs/{run_id}/endpoint/closing",
        "/sweeps", "/sweeps/{sweep_id}", "/sweeps/{sweep_id}/cancellation",
        "/scoreboards", "/scoreboards/{group_id}", "/scoreboards/{group_id}/cancellation",
    }  # fmt: skip
    assert {path.removeprefix("/api/v1") for path in paths} == expected
