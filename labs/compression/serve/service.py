"""A model being served: engine, front and lease together, known to all stages of a run."""

import json
import math
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from labs.common.loading import load_tokenizer
from labs.common.memory import reset_peak
from labs.compression.serve.answering import Answerer, Limits
from labs.compression.serve.asked import Engine
from labs.compression.serve.engines import open_engine
from labs.compression.serve.front import Front
from labs.compression.serve.lease import Lease
from labs.compression.serve.spec import ServeParams
from labs.contract import LabContext, LabError
from labs.models import read_facts
from labs.runspec import read_params

ENDPOINT = "endpoint.json"
SECRET_BYTES = 32
TICK_SECONDS, PROGRESS_SECONDS, MOVED_SECONDS = 0.2, 2.0, 5.0

# One run directory is served once in a process; stages that follow find it here.
_running: dict[Path, "Service"] = {}


class Service:
    """An engine that answers over HTTP. `load_seconds` is how long it took until it could."""

    def __init__(
        self, engine: Engine, front: Front, lease: Lease, model: str, load_seconds: float
    ) -> None:
        self.engine, self.lease, self.model = engine, lease, model
        self.load_seconds = load_seconds
        self.address = self.test_secret = ""
        self._front = front
        self._closing: list[Callable[[], object]] = [front.close, engine.close]

    def close(self) -> None:
        """Stop answering, then let go of the model; a second call changes nothing."""
        self.lease.close()
        while self._closing:
            self._closing.pop(0)()


def ensure(params: ServeParams, run: LabContext) -> Service:
    """The service of this run: the one that runs, or a new one, as after an earlier attempt.

    It ends with the stages. Its address and the secret of the proxy stand in `endpoint.json`.

    Raises:
        LabError: If the engine or the server cannot start.
    """
    known = _running.get(run.run_dir)
    if known is not None:
        return known
    told = {"engine": params.engine, "model": run.base_model_name}
    run.endpoint("starting", **told)
    try:
        service = _running[run.run_dir] = _start(params, run)
    except BaseException:
        run.endpoint("closed", **told)
        raise

    run.at_end(lambda: end(run))
    run.endpoint("testing", **told)
    return service


def end(run: LabContext) -> None:
    """Close the service of this run, if there is one still."""
    service = _running.pop(run.run_dir, None)
    if service is None:
        return
    (run.run_dir / ENDPOINT).unlink(missing_ok=True)
    service.close()
    run.endpoint("closed", engine=service.engine.name, model=service.model)


def _start(params: ServeParams, run: LabContext) -> Service:
    reset_peak(run.device)
    tokenizer = load_tokenizer(run.base_model)
    started = time.perf_counter()
    engine = open_engine(params, run)
    seconds = time.perf_counter() - started
    limits = Limits(params.context(read_facts(run.base_model)), params.max_new_tokens)
    lease = Lease(params.wait_seconds, 60 * params.idle_minutes, 60 * params.open_minutes)
    secret, test_secret = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(2))
    answerer = Answerer(engine, tokenizer, run.base_model_name, limits)
    front = Front(answerer, lease, secret, test_secret)
    service = Service(engine, front, lease, run.base_model_name, seconds)
    host = read_params(run.run_dir).serve_host
    try:
        service.address = front.start(host)
    except OSError as error:
        service.close()
        raise LabError(
            "The endpoint cannot listen on {host}: {reason}.", host=host, reason=error
        ) from error
    service.test_secret = test_secret
    lease.enter("testing")
    _write_endpoint(params, run, service.address, secret)
    return service


def _write_endpoint(params: ServeParams, run: LabContext, address: str, secret: str) -> None:
    """For the proxy alone: nobody else on this machine may read it, and no artifact holds it."""
    content = {
        "address": address,
        "secret": secret,
        "model": run.base_model_name,
        "engine": params.engine,
        "attempt": run.attempt,
    }
    beside = run.run_dir / f".{ENDPOINT}.new"
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
    beside.replace(run.run_dir / ENDPOINT)


def keep_open(service: Service, run: LabContext) -> None:
    """Serve until the lease is over; a wish to stop ends it at once.

    Raises:
        Stopped: If somebody asked the run to stop.
    """
    service.lease.enter("open")
    told = {"engine": service.engine.name, "model": service.model}
    started, planned, shown = time.monotonic(), -math.inf, -math.inf
    waiting = threading.Event()
    while service.lease.state == "open":
        run.check_stop()
        left = service.lease.status().closes_in_seconds or 0.0
        if left <= 0:
            return
        now = time.monotonic()
        # Told anew when the end has moved, by a request or by an extension.
        if abs(now + left - planned) > MOVED_SECONDS:
            planned = now + left
            run.endpoint("open", **told, closes_in_seconds=left)
        if now - shown > PROGRESS_SECONDS:
            shown = now
            run.progress(now - started, now - started + left, "open for requests")
        waiting.wait(min(TICK_SECONDS, left))
