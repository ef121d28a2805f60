"""Whatever a client sends, the answer is about the client: never a 500, never a crash."""

import gc
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.support.site import Site

ODD_TEXTS = [
    "",
    "\0",
    "\ud800",
    "x" * 5000,
    "‮evil",
    "{0.__class__}",
    "%s%n",
    "../../etc/passwd",
    "null",
    "'; DROP TABLE runs; --",
]
ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    2**63,
    2**400,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    {"a": {"b": 1}},
    *ODD_TEXTS,
]
FIELDS = (
    "lab", "params", "stages", "base_model", "dataset", "seed", "parent_run", "name", "reuse", "extra",
)  # fmt: skip
READS = (
    "/labs/{}", "/runs/{}", "/runs/{}/metrics", "/runs/{}/log", "/runs/{}/artifacts/{}",
    "/runs/{}/artifacts/a/{}", "/runs/{}/events", "/datasets/{}", "/compare?runs={}",
    "/runs?state={}", "/runs?lab={}", "/runs?owner={}", "/runs?cursor={}", "/runs?limit={}",
)  # fmt: skip

ODD_ADDRESSES = (
    "", "%00", "%ff", "%ed%a0%80", "a%2fb", "-1", "9" * 400,
    *(quote(text, safe="") for text in ODD_TEXTS[3:]),
)  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
patient = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def script(site: Site) -> TestClient:
    return site.script("sam")


def send(script: TestClient, path: str, body: Any) -> int:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = script.post(f"/api/v1{path}", content=content, headers=headers)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    return answer.status_code


@pytest.mark.parametrize("field", FIELDS)
def test_odd_values_in_a_run_are_refused_in_words(script: TestClient, field: str) -> None:
    for value in ODD_VALUES:
        assert send(script, "/runs", {"lab": "lora", field: value}) in (201, 400, 413, 422)
        assert send(script, "/estimates", {"lab": "lora", field: value}) in (200, 400, 422)


@pytest.mark.parametrize("name", ["steps", "learning_rate", "rank", "nothing", "\0", "schedule"])
def test_odd_parameters_are_refused_in_words(script: TestClient, name: str) -> None:
    for value in ODD_VALUES:
        assert send(script, "/runs", {"lab": "lora", "params": {name: value}}) in (201, 400, 422)


@patient
@given(body=json_values)
def test_any_json_is_answered(script: TestClient, body: Any) -> None:
    for path in ("/runs", "/estimates"):
        assert send(script, path, body) in (200, 201, 400, 422)


@patient
@given(values=st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_fields_are_answered(script: TestClient, values: dict[str, Any]) -> None:
    assert send(script, "/runs", {"lab": "lora", **values}) in (201, 400, 422)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b'{"lab": NaN}', b"1" * 6000, b'"\\ud800"'],
)
def test_what_is_not_json_is_refused(script: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/runs", "/estimates"):
        answer = script.post(f"/api/v1{path}", content=content, headers=headers)
        assert answer.status_code in (400, 422)
    plain = script.post(
        "/api/v1/runs", content=b'{"lab": "lora"}', headers={"Content-Type": "text/plain"}
    )
    assert plain.status_code in (415, 422)


@pytest.mark.parametrize("path", READS)
def test_odd_addresses_are_answered(script: TestClient, path: str) -> None:
    for text in ODD_ADDRESSES:
        answer = script.get("/api/v1" + path.replace("{}", text))
        assert answer.status_code in (200, 400, 404, 422), (path, text)


@pytest.mark.parametrize(
    "header", ["Idempotency-Key", "Last-Event-ID", "Accept-Language", "Cookie", "Range"]
)
def test_odd_headers_are_answered(script: TestClient, header: str) -> None:
    for value in (
        "",
        "x" * 5000,
        "\xff\xfe",
        "bytes=9-1,-",
        "session=; =; a",
    ):
        headers = [
            (header.encode(), value.encode("latin-1")),
            (b"content-type", b"application/json"),
        ]
        answer = script.post("/api/v1/runs", content=b'{"lab": "lora"}', headers=headers)
        assert answer.status_code in (201, 422)
        assert script.get("/api/v1/runs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
    ],
)
# Starlette leaves the temporary file of a part that never ended to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_broken_uploads_are_refused(script: TestClient, content: bytes) -> None:
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "text/plain"):
        answer = script.post("/api/v1/datasets", content=content, headers={"Content-Type": kind})
        assert answer.status_code in (400, 422), kind
    gc.collect()


@patient
@given(content=st.binary(max_size=300))
def test_any_file_is_judged(script: TestClient, content: bytes) -> None:
    answer = script.post("/api/v1/datasets", files={"file": ("x.jsonl", content)})
    assert answer.status_code in (201, 422)
