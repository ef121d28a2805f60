"""A hub on 127.0.0.1 with models of the test's own, answering as the real one does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What the hub has, what it was asked, and how it misbehaves.

    `resumed` are the bytes that requests began after; `cut` is after how many bytes a weight file
    stops until `held` is set; with `lies` its stated hash is another's; `status` is every answer's.
    """

    address: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    gated: bool = False
    status: int | None = None
    cut: int | None = None
    lies: bool = False
    held: threading.Event = field(default_factory=threading.Event)

    def put(self, hub_id: str, folder: Path) -> None:
        """Publish the files of a folder."""
        self.files[hub_id] = {each.name: each.read_bytes() for each in folder.iterdir()}

    def describe(self, hub_id: str) -> dict[str, Any]:
        siblings = [self._sibling(name, data) for name, data in self.files[hub_id].items()]
        return {"id": hub_id, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}

    def _sibling(self, name: str, data: bytes) -> dict[str, Any]:
        known = {"rfilename": name, "size": len(data), "blobId": "0"}
        if name.endswith(".safetensors"):
            sha256 = hashlib.sha256(data + b"!" if self.lies else data).hexdigest()
            known["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 1}
        return known

    def downloads(self) -> list[str]:
        """The files that were sent, in order."""
        return [each.rpartition("/")[2] for each in self.asked if each.startswith("GET /resolve")]


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.held.set()

    class Handler(_Handler):
        fake = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        hub.held.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test looks at `asked`."""

    def _answer(self, with_body: bool) -> None:
        self.fake.tokens.add(self.headers.get("Authorization", ""))
        path = self.path.partition("?")[0].strip("/").split("/")
        if self.fake.status is not None:
            return self._refuse(self.fake.status, "")
        if path[:2] == ["api", "models"]:
            return self._describe("/".join(path[2:4]), path[5:])
        hub_id, name = "/".join(path[:2]), path[-1]
        self.fake.asked.append(f"{self.command} /resolve/{name}")
        if self.fake.gated and name != "README.md":
            return self._refuse(403, "GatedRepo")
        self._send(self.fake.files[hub_id][name], name, with_body)

    def _describe(self, hub_id: str, revision: list[str]) -> None:
        if hub_id not in self.fake.files:
            return self._refuse(401, "RepoNotFound")
        if revision and revision[0] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        self._send(json.dumps(self.fake.describe(hub_id)).encode(), "", with_body=True)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, name: str, with_body: bool) -> None:
        first = int(self.headers.get("Range", "bytes=0-").split("=")[1].partition("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if first:
            self.fake.resumed.append(first)
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not with_body:
            return
        cut, is_weights = self.fake.cut, name.endswith(".safetensors")
        if is_weights and cut is not None and first == 0:
            self.wfile.write(data[:cut])
            self.wfile.flush()
            self.fake.held.wait()
            return
        self.wfile.write(data[first:])
