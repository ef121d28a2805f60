"""`bunsen up`: everything on one machine, ready when a run could be submitted."""

import fcntl
import gc
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from app import backup, clock
from app.children import BROKER, TICK_SECONDS, Child, Children, describe
from app.database import reading
from app.embedded import Broker, embedded_broker
from app.errors import Conflict, MissingHere
from app.machine import find_gpus
from app.models import Device
from app.people_cli import entry_links
from app.settings import ROOT, Settings, get_settings

PATIENCE_SECONDS = 180.0
# Beyond the time that runs have for a checkpoint, for writing their ends down.
ENDING_SECONDS = 5.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What `bunsen up` was asked for."""

    host: str
    port: int
    devices: tuple[str, ...]
    demo: bool


@dataclass(frozen=True, slots=True)
class Address:
    """Where the web server listens, and the URL that people on this machine use."""

    host: str
    port: int

    @property
    def reachable(self) -> str:
        return ANYWHERE.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = f"[{self.reachable}]" if ":" in self.reachable else self.reachable
        return f"http://{host}:{self.port}"


def up(plan: Plan) -> int:
    settings = get_settings()
    devices = choose_devices(plan.devices)
    prepare_home(settings.home)
    address = free_address(plan)
    url = settings.public_url.rstrip("/") or address.url
    grace = settings.stop_grace.total_seconds() + ENDING_SECONDS
    with claimed(settings.home, url), Children(complain, grace) as children:
        environment = start_broker(children, settings)
        if kept := backup.upgrade():
            complain(kept)
        roles = Roles(children, environment, settings.home / "logs")
        roles.start("web", "web", "--host", address.host, "--port", str(address.port))
        workers = [roles.start(f"worker-{each}", "worker", "--device", each) for each in devices]
        links = entry_links(url, plan.demo)
        if wait_until_ready(children, address, workers):
            # Last, since nobody waits for it: a second of computing less before a run can be sent.
            roles.start("housekeeper", "housekeeper")
            for name, link in links[1:]:
                say(f"Link for {name}: {link}")
            say(f"Ready: {links[0][1]}")
            children.watch()
            say("Stopping.")
    return 0


def say(line: str) -> None:
    print(line, flush=True)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def choose_devices(asked: tuple[str, ...]) -> tuple[str, ...]:
    """The devices asked for, if they are here; else every GPU, else the CPU."""
    if asked and not any(name.startswith("cuda") for name in asked):
        return ("cpu",)
    gpus = find_gpus()
    for name in asked:
        if name != "cpu" and name not in gpus.devices:
            here = ", ".join((*gpus.devices, "cpu"))
            raise MissingHere(
                "There is no {name} here; this machine has: {here}. {problem}",
                name=name,
                here=here,
                problem=gpus.problem,
            )
    if not asked and gpus.problem:
        complain(gpus.problem)
    return tuple(dict.fromkeys(asked)) or gpus.devices or ("cpu",)


def prepare_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / ".writable").write_text("")
        (home / ".writable").unlink()
    except OSError as error:
        raise MissingHere(
            "The data folder {home} is not writable ({reason}). Set BUNSEN_HOME to a folder that is.",
            home=home,
            reason=error.strerror,
        ) from error


def free_address(plan: Plan) -> Address:
    """Checks the port before anything starts; 0 asks the system for a free one."""
    family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((plan.host, plan.port))
        except OSError as error:
            raise MissingHere(
                "Port {port} on {host} cannot be used ({reason}). "
                "Stop the program that has it, or choose another with --port.",
                port=plan.port,
                host=plan.host,
                reason=error.strerror or error,
            ) from error
        return Address(plan.host, int(probe.getsockname()[1]))


@contextmanager
def claimed(home: Path, url: str) -> Iterator[None]:
    """One `up` per data folder; the kernel takes the claim back when this process ends."""
    with (home / "up.json").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "Bunsen already runs on the data folder {home}{where}. "
                "Stop that one first, or set BUNSEN_HOME to another folder.",
                home=home,
                where=_whereabouts(home),
            ) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "url": url}))
        file.flush()
        yield
        file.truncate(0)


def _whereabouts(home: Path) -> str:
    try:
        running = json.loads((home / "up.json").read_text())
        return f" (process {running['pid']}, {running['url']})"
    except (OSError, ValueError, KeyError):
        return ""


def start_broker(children: Children, settings: Settings) -> dict[str, str]:
    """Starts our own Redis unless another broker is set. Returns the environment of all roles."""
    environment = {
        **os.environ,
        "BUNSEN_HOME": str(settings.home.resolve()),
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if settings.broker_url is not None:
        return environment
    broker = embedded_broker(settings)
    if broker.command:
        _start_redis(children, broker, environment, settings.home / "logs" / "broker.log")
    else:
        complain("No redis-server was found here; a polled folder carries the messages instead.")
    return {**environment, "BUNSEN_BROKER_URL": broker.url}


def _start_redis(
    children: Children, broker: Broker, environment: dict[str, str], log: Path
) -> None:
    child = Child(BROKER, broker.command, environment, log, after_quick_death=broker.forget)
    children.start(child)
    deadline = time.monotonic() + 10
    while not broker.answers():
        if child.code is not None and child.plan_restart():
            broker.forget()
            child.start()
        if time.monotonic() > deadline or child.quick_deaths > 1:
            raise MissingHere("The embedded Redis does not start:\n{tail}", tail=child.tail())
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Roles:
    """Starts the roles of `bunsen` as children."""

    children: Children
    environment: dict[str, str]
    logs: Path

    def start(self, role: str, *words: str) -> Child:
        command = [sys.executable, "-m", "app.cli", *words]
        log = self.logs / f"{role.replace(':', '-')}.log"
        child = Child(role, command, self.environment, log)
        self.children.start(child)
        return child


def wait_until_ready(children: Children, address: Address, workers: list[Child]) -> bool:
    """Waits for the web server and a device; False when a signal asked to stop first."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    since = clock.now() - timedelta(seconds=1)
    web = device = False
    while not (web and device):
        if children.stop_requests:
            return False
        _refuse_early_death(children)
        web = web or web_is_ready(address)
        device = device or device_is_ready(workers, since)
        if time.monotonic() > deadline:
            raise MissingHere(
                "Bunsen did not get ready within {seconds:.0f} s (web server: {web}, device: {device}). "
                "The logs are beside {log}.",
                seconds=PATIENCE_SECONDS,
                web="ready" if web else "not ready",
                device="ready" if device else "not ready",
                log=workers[0].log,
            )
        time.sleep(TICK_SECONDS)
    return True


def _refuse_early_death(children: Children) -> None:
    for child in children.dead():
        raise MissingHere(
            "{role} ended at its start ({code}):\n{tail}\n(the whole log: {log})",
            role=child.role,
            code=describe(child.code),
            tail=child.tail(),
            log=child.log,
        )


def web_is_ready(address: Address) -> bool:
    connection = http.client.HTTPConnection(address.reachable, address.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def device_is_ready(workers: list[Child], since: datetime) -> bool:
    """Whether one of these very workers has registered its device, so that runs may wait for it.

    It still imports torch for the trainers then: the first run starts a few seconds later.
    """
    alive = select(Device.pid).where(Device.heartbeat_at >= since)
    with reading() as session:
        pids = session.scalars(alive).all()
    return any(worker.pid in pids for worker in workers)


def serve_web(host: str, port: int) -> int:
    """The web server in this process. Streams stay open for ever: shutdown waits 3 s for them."""
    import uvicorn

    # Nothing that is made while starting is garbage: looking for it costs a seventh of the start.
    # The application turns the collector on again when it is ready.
    gc.disable()
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=host,
        port=port,
        timeout_graceful_shutdown=3,
        access_log=False,  # entry links carry a secret in their path
        server_header=False,
    )
    return 0
