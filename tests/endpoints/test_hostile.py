"""Trainers that lie and clients with odd requests: an error in OpenAI's shape, never a 500."""

import asyncio
import json
import os
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.types import Message

from app.database import transaction
from app.endpoints import control
from app.endpoints.address import front_of
from app.models import Artifact
from app.settings import get_settings
from tests.endpoints.front import SECRET, FakeFront, open_at, serving
from tests.endpoints.test_proxy import caller, chat, new_key, refused, row_of
from tests.support.factories import NOON
from tests.support.site import Site

SSE = b"Content-Type: text/event-stream\r\n"
JSON = b"Content-Type: application/json\r\n"


@contextmanager
def answering(answer: bytes, noted: list[bytes] | None = None) -> Iterator[str]:
    """A server that says these bytes to whatever it is asked, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            line = self.request.recv(1 << 20).split(b"\r\n")[0]
            if noted is not None:
                noted.append(line)
            self.request.sendall(answer)

    with listening(Handler) as address:
        yield address


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def head(status: str, *lines: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\n".encode() + b"".join(lines) + b"Connection: close\r\n\r\n"


ANSWERS = {
    "nothing": b"",
    "no http": b"\x00\xff garbage\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: applic",
    "a huge head": head("200 OK", b"X: " + b"x" * 2_000_000 + b"\r\n"),
    "many headers": head("200 OK", b"X: y\r\n" * 50_000),
    "a redirect": head("302 Found", b"Location: http://127.0.0.1:1/\r\n", JSON) + b"{}",
    "no content": head("204 No Content"),
    "not modified": head("304 Not Modified"),
    "too short": head("200 OK", JSON, b"Content-Length: 100\r\n") + b"{}",
    "too long": head("200 OK", JSON, b"Content-Length: 1\r\n") + b"{}",
    "a negative length": head("200 OK", JSON, b"Content-Length: -1\r\n") + b"{}",
    "an odd status": head("999 What", JSON) + b"{}",
    "bad chunks": head("200 OK", JSON, b"Transfer-Encoding: chunked\r\n") + b"zz\r\n{}\r\n",
    "packed": head("200 OK", JSON, b"Content-Encoding: gzip\r\n") + b"\x1f\x8b\x08",
    "deep": head("200 OK", JSON) + b"[" * 100_000,
    "a long number": head("200 OK", JSON) + b"1" * 10_000,
    "half a letter": head("200 OK", JSON) + b'"\xff"',
    "a stream that refuses us": head("401 Unauthorized", SSE) + b"data: x\n\n",
    "a stream elsewhere": head("302 Found", SSE, b"Location: /\r\n") + b"data: x\n\n",
    "a stream of no content": head("204 No Content", SSE),
    "a stream of an odd status": head("999 What", SSE) + b"data: x\n\n",
}


def test_whatever_a_trainer_says_is_an_answer_or_an_error(site: Site) -> None:
    run_id = serving(site)
    client, page = caller(site, new_key(site, run_id)), site.client("sam")
    for kind, said in ANSWERS.items():
        with answering(said) as address:
            open_at(run_id, FakeFront(address=address))
            answer = chat(client, run_id, stream=True)
            assert answer.status_code == 502, (kind, answer.status_code, answer.text)
            assert SECRET not in json.dumps(refused(answer, 502, "endpoint_broken"))
            assert page.get(f"/runs/{run_id}/endpoint").status_code == 200, kind
            assert page.post(f"/runs/{run_id}/endpoint/extension").status_code == 503, kind
    assert row_of(run_id).requests == 0


def test_a_time_to_come_back_is_a_number_of_seconds(site: Site) -> None:
    run_id = serving(site)
    client = caller(site, new_key(site, run_id))
    for told in ("٣".encode(), b"9" * 5000, b"soon", b"-1"):
        busy = head("503 Busy", JSON, b"Retry-After: " + told + b"\r\n") + b"{}"
        with answering(busy) as address:
            open_at(run_id, FakeFront(address=address))
            answer = chat(client, run_id)
            assert answer.status_code == 503
            assert "retry-after" not in answer.headers


ODD_PATHS = (
    "/models/..", "/models/%2e%2e", "/models/%2e", "/models/../../bunsen/status",
    "/models/%2e%2e%2f%2e%2e%2fbunsen%2fstatus", "/models/", "/models//",
    "/models/" + "%2f" * 10_000, "/models/" + "x" * 60_000, "/models/%ff%fe", "/models/a%0d%0ab",
    "/models/%00", "/models/a?b=c", "/../v1/models", "//models", "/%6dodels/x",
    "/models/%e2%98%83", "/chat/completions/../../../bunsen/status",
)  # fmt: skip


def test_odd_paths_reach_nothing_but_models(site: Site, url: str) -> None:
    run_id = serving(site)
    key = new_key(site, run_id)
    noted: list[bytes] = []
    with answering(head("404 Not Found", JSON) + b'{"error": {}}', noted) as address:
        open_at(run_id, FakeFront(address=address))
        for path in ODD_PATHS:
            status, body = asked(url, f"/serve/{run_id}/v1{path}", key)
            assert status in (400, 404), (path[:40], status, body)
            assert "error" in json.loads(body), path[:40]
    lines = [line.decode().split() for line in noted]
    assert all(re.fullmatch(r"/v1/models/[^/?]+", path) for _, path, _ in lines), lines
    assert not {path.rpartition("/")[2] for _, path, _ in lines} & {".", ".."}


def asked(url: str, path: str, key: str) -> tuple[int, bytes]:
    """The path as it is: clients' own code would tidy it."""
    line = HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        line.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def test_an_address_that_is_no_plain_file_opens_nothing(site: Site) -> None:
    run_id = serving(site)
    open_at(run_id, FakeFront(address="http://127.0.0.1:1025"))
    file = get_settings().run_dir(run_id) / "endpoint.json"
    whole = file.read_text()
    assert front_of(run_id, 1) is not None
    for odd in (
        "[" * 16_000,
        "null",
        "\xff",
        '"' + "x" * 20_000,
        '{"attempt": 1}',
        "NaN",
        "",
        "1" * 9000,
    ):
        file.write_text(odd)
        assert front_of(run_id, 1) is None
    file.unlink()
    file.mkdir()
    before = open_files()
    for _ in range(5):
        assert front_of(run_id, 1) is None
    assert open_files() == before
    file.rmdir()
    os.mkfifo(file)
    assert front_of(run_id, 1) is None
    writer = os.open(file, os.O_RDWR | os.O_NONBLOCK)
    assert front_of(run_id, 1) is None
    os.close(writer)
    file.unlink()
    other = file.with_name("other.json")
    other.write_text(whole)
    file.symlink_to(other)
    assert front_of(run_id, 1) is None


@pytest.mark.parametrize("kind", ["head", "body"])
def test_a_page_does_not_wait_for_a_trainer_that_never_ends(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, and the whole never."""
    monkeypatch.setattr(control, "GLANCE_SECONDS", 0.2)
    run_id, hung_up = serving(site), threading.Event()
    began = head("200 OK", JSON) if kind == "body" else b"HTTP/1.1 200 OK\r\nX: "

    class Dribbling(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(began)
            with suppress(OSError):
                while not hung_up.wait(0.02):
                    self.request.sendall(b" ")
            hung_up.set()

    with listening(Dribbling) as address:
        open_at(run_id, FakeFront(address=address))
        assert site.client("sam").get(f"/runs/{run_id}/endpoint").status_code == 200
        assert hung_up.wait(20)


def test_who_hangs_up_while_sending_is_no_failure_of_ours(site: Site, front: FakeFront) -> None:
    run_id = serving(site)
    open_at(run_id, front)
    bearer = f"Bearer {new_key(site, run_id)}".encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": f"/serve/{run_id}/v1/completions", "raw_path": b"",
        "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "server": ("x", 80),
        "headers": [(b"authorization", bearer), (b"content-length", b"100")], "state": {},
    }  # fmt: skip
    said: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return next(said)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(site.app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert front.asked == []


def test_a_file_is_no_prompt(site: Site, front: FakeFront) -> None:
    run_id = serving(site)
    open_at(run_id, front)
    files = {"prompt": ("a.txt", b"x" * 100)}
    answer = site.client("sam").post(f"/runs/{run_id}/endpoint/trial", files=files)
    assert "missing" in refused(answer, 400, None)["message"]


def test_the_secret_is_no_file_of_any_artifact(site: Site, front: FakeFront) -> None:
    run_id = serving(site)
    open_at(run_id, front)
    folder = get_settings().run_dir(run_id)
    (folder / "artifacts" / "plain").mkdir(parents=True)
    (folder / "artifacts" / "linked").symlink_to(folder)
    (folder / "artifacts" / "plain" / "inner").symlink_to(folder / "endpoint.json")
    with transaction() as session:
        for name in ("plain", "linked"):
            made = {"bytes": 1, "sha256": "ab" * 32, "attempt": 1, "created_at": NOON}
            session.add(
                Artifact(run_id=run_id, name=name, kind="x", path=f"artifacts/{name}", **made)
            )
    sam = site.script("sam")
    for path in (
        "linked", "linked/endpoint.json", "plain", "plain/inner", "plain/../../endpoint.json",
        "plain/%2e%2e/%2e%2e/endpoint.json", "..%2fendpoint.json", "endpoint.json",
    ):  # fmt: skip
        answer = sam.get(f"/api/v1/runs/{run_id}/artifacts/{path}")
        assert answer.status_code == (200 if path == "plain" else 404), path
        assert SECRET.encode() not in answer.content


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
