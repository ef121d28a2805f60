"""The way in: the entry script, its setup, the command line, and starting and stopping it all."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from app import cli
from app.children import START_AGAIN, Child, Children
from app.embedded import embedded_broker
from app.settings import ROOT, Settings
from setup import commands, environment, frontend
from setup.say import SetupFailed, SetupKilled, Step
from tests.support.processes import is_alive
from tests.support.server import command, environment_for, running_server


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parts of an environment that the stamp looks at."""
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(environment, "VENV", folder)
    monkeypatch.setattr(environment, "PYTHON", folder / "bin" / "python")
    monkeypatch.setattr(environment, "UNFINISHED", folder / "bunsen-unfinished")
    return folder


def test_a_stamp_holds_until_the_lock_or_the_python_changes(venv: Path, tmp_path: Path) -> None:
    lock = tmp_path / "base.txt"
    lock.write_text("a==1\n")
    assert not environment.is_current("base", lock)
    environment.mark_current("base", lock)
    assert environment.is_current("base", lock)
    lock.write_text("a==2\n")
    assert not environment.is_current("base", lock)
    environment.mark_current("base", lock)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(shutil.which("sh") or "")
    assert not environment.is_current("base", lock)


def test_an_environment_whose_python_is_gone_is_not_current(venv: Path, tmp_path: Path) -> None:
    lock = tmp_path / "base.txt"
    lock.write_text("")
    environment.mark_current("base", lock)
    (venv / "bin" / "python").unlink()
    assert not environment.is_current("base", lock)


def test_a_killed_installation_is_made_anew(venv: Path) -> None:
    assert environment.is_whole()
    environment.UNFINISHED.touch()
    assert not environment.is_whole()


def test_too_little_disk_is_said_before_anything_is_made(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (venv / "bin" / "python").unlink()
    monkeypatch.setattr(environment, "CPU_BYTES", 10**18)
    monkeypatch.setattr(environment, "CUDA_BYTES", 10**18)
    with pytest.raises(SetupFailed, match="Free some space"):
        environment.check_disk()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("NewConnectionError: Temporary failure in name resolution", "could not be reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "DO NOT MATCH THE HASHES"),
    ],
)
def test_a_failed_step_says_why(output: str, sentence: str, tmp_path: Path) -> None:
    script = f"print({output!r}); raise SystemExit(1)"
    with pytest.raises(SetupFailed, match=sentence):
        commands.run(Step("Installing"), [sys.executable, "-c", script], tmp_path / "log")


def test_a_killed_step_is_no_ordinary_failure(tmp_path: Path) -> None:
    script = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(SetupKilled, match="ended by signal 9"):
        commands.run(Step("Installing"), [sys.executable, "-c", script], tmp_path / "log")


def test_the_setup_keeps_a_persons_pip_settings_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_RETRIES", "7")
    kept = commands.clean_environment()
    assert "PIP_TARGET" not in kept
    assert kept["PIP_RETRIES"] == "7"


def test_the_manifest_names_the_hash_of_every_vendored_file() -> None:
    hashes = json.loads(frontend.MANIFEST.read_text())
    assert set(hashes) == set(frontend.FILES)
    assert all(frontend.sha256(frontend.VENDOR / name) == hashes[name] for name in hashes)


def test_a_copy_from_another_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "COPIED_FROM", tmp_path / "lock.sha256")
    assert not frontend.is_current()
    frontend.COPIED_FROM.write_text(frontend.sha256(frontend.LOCK))
    assert frontend.is_current()


def entry(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "bunsen", *words],
        cwd="/",
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_needs_no_environment_and_names_every_verb() -> None:
    done = entry("--help")
    assert done.returncode == 0
    for verb in ("up", "test", "lab", "web", "worker", "housekeeper", "db", "user", "token"):
        assert f"    {verb}" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["up", "--port", "99999"],
        ["worker", "--device", "gpu"],
        ["worker", "--device", "cpu", "--name", "a/b"],
        ["db"],
        ["user"],
    ],
)
def test_wrong_use_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == cli.WRONG_USE
    assert "usage: bunsen" in capsys.readouterr().err


def test_wrong_settings_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BUNSEN_DEVICE_SLOTS", "none")
    assert cli.main(["doctor"]) == cli.WRONG_USE
    assert "device_slots" in capsys.readouterr().err


def test_a_database_that_is_not_there_is_a_sentence(home: Path) -> None:
    away = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    done = command("user", "list", home=home, BUNSEN_DATABASE_URL=away)
    assert done.returncode == cli.MISSING_HERE
    assert done.stderr.startswith("The database cannot be used")


def test_a_gpu_that_is_not_here_ends_with_three(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--device", "cuda:99"]) == cli.MISSING_HERE
    assert "There is no cuda:99 here" in capsys.readouterr().err


def test_a_port_in_use_ends_with_three(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["up", "--device", "cpu", "--port", str(port)]) == cli.MISSING_HERE
    assert f"Port {port} on 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_people_and_tokens_from_the_command_line(sqlite_url: str, home: Path) -> None:
    added = command("user", "add", "ada", "--role", "instructor", home=home)
    assert "/enter/" in added.stdout.splitlines()[-1]
    assert command("user", "add", "ada", home=home).returncode == cli.WRONG_USE
    assert "ada\tinstructor\tactive" in command("user", "list", home=home).stdout
    token = command("token", "create", "ada", "--expires", "30d", home=home).stdout.splitlines()[-1]
    assert len(token) >= 32
    assert " " not in token
    assert command("user", "link", "nobody", home=home).returncode == cli.WRONG_USE


def test_a_backup_brings_everything_back(database_url: str, home: Path, tmp_path: Path) -> None:
    where = {"BUNSEN_DATABASE_URL": database_url}
    copy = tmp_path / "copy"
    command("user", "add", "ada", home=home, **where)
    assert command("db", "backup", str(copy), home=home, **where).returncode == 0
    command("user", "add", "bob", home=home, **where)
    restored = command("db", "restore", str(copy), home=home, **where)
    assert restored.returncode == 0, restored.stderr
    names = command("user", "list", home=home, **where).stdout
    assert "ada" in names
    assert "bob" not in names


def test_a_backup_never_overwrites(sqlite_url: str, home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_text("precious")
    assert command("db", "backup", str(copy), home=home).returncode == cli.WRONG_USE
    assert copy.read_text() == "precious"
    assert command("db", "restore", str(copy), home=home).returncode == cli.WRONG_USE


def test_a_long_data_folder_still_gets_a_socket(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 120)
    broker = embedded_broker(Settings(home=home))
    assert broker.socket is not None
    assert len(str(broker.socket)) < 107
    assert broker.folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(broker.folder)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Children take the signals of their process; a test gives them back."""
    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in taken}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def children() -> Iterator[Children]:
    with Children(lambda line: None) as opened:
        yield opened


def child(tmp_path: Path, code: str) -> Child:
    return Child("role", [sys.executable, "-c", code], dict(os.environ), tmp_path / "role.log")


def wait_for(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_that_dies_is_started_again_ever_later(tmp_path: Path, children: Children) -> None:
    role = child(tmp_path, "print('here I end'); raise SystemExit(7)")
    children.start(role)
    wait_for(lambda: role.code is not None)
    assert [role.plan_restart() for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert role.tail() == "here I end"


def test_a_child_that_asks_for_it_is_started_anew_at_once(
    tmp_path: Path, children: Children
) -> None:
    flag = tmp_path / "flag"
    again = f"import pathlib, sys; f = pathlib.Path({str(flag)!r}); new = not f.exists(); f.touch()"
    role = child(
        tmp_path, f"{again}; sys.exit({START_AGAIN}) if new else print('here', flush=True)"
    )
    children.start(role)
    first = role.pid
    wait_for(lambda: role.code == START_AGAIN)
    children.restart_dead()
    assert role.pid != first
    assert role.quick_deaths == 0
    wait_for(lambda: role.tail() == "here")


def test_stopping_ends_what_ignores_signals_and_what_left_its_group(
    tmp_path: Path, children: Children
) -> None:
    orphan = "import os, signal, time; os.setsid(); signal.signal(15, 1); time.sleep(60)"
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(15, signal.SIG_IGN); "
        f"subprocess.Popen([sys.executable, '-c', {orphan!r}]); print('up', flush=True); "
        "time.sleep(60)"
    )
    role = child(tmp_path, stubborn)
    children.start(role)
    wait_for(lambda: role.tail() == "up")
    family = psutil.Process(role.pid).children(recursive=True)
    assert family
    children.grace_seconds = 0.3
    children.stop()
    assert not any(is_alive(process) for process in family)
    assert role.code is not None


def test_stopping_spares_what_was_there_before(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as elder:
        with Children(lambda line: None) as children:
            children.start(child(tmp_path, "input()"))
        assert elder.poll() is None
        elder.kill()


@pytest.mark.slow
def test_up_gets_ready_refuses_a_second_one_and_stops_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--demo") as server:
        assert set(server.links) == {"admin", "instructor", "student1", "student2", "student3"}
        second = command("up", "--port", "0", "--device", "cpu", home=server.home)
        assert second.returncode == cli.WRONG_USE
        assert server.base_url in second.stderr
        everything = psutil.Process(server.process.pid).children(recursive=True)
        assert len(everything) >= 4
        started = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - started < 10
        assert not any(is_alive(process) for process in everything)
    with running_server(tmp_path / "home") as again:
        assert set(again.links) == {"admin"}


@pytest.mark.slow
def test_up_uses_the_database_and_broker_that_are_set(
    postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    outside = {"BUNSEN_DATABASE_URL": postgres_url, "BUNSEN_BROKER_URL": redis_url}
    with running_server(tmp_path / "home", environment=outside) as server:
        assert not (server.home / "bunsen.db").exists()
        assert not (server.home / "broker").exists()
        users = command("user", "list", home=server.home, **outside)
        assert users.stdout == "admin\tadmin\tactive\n"


@pytest.mark.slow
@pytest.mark.faults
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with running_server(tmp_path / "home") as server:
        everything = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(is_alive(process) for process in everything))


@pytest.mark.slow
@pytest.mark.faults
def test_a_killed_role_comes_back(tmp_path: Path) -> None:
    with running_server(tmp_path / "home") as server:
        roles = psutil.Process(server.process.pid).children()
        web = next(role for role in roles if "web" in role.cmdline())
        web.kill()
        wait_for(lambda: not is_alive(web))
        address = server.base_url.removeprefix("http://").split(":")
        wait_for(lambda: answers(address[0], int(address[1])))


def answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_ctrl_c_before_ready_stops_as_well(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "up", "--port", "0", "--device", "cpu"],
        cwd=ROOT,
        env=environment_for(tmp_path / "home", None),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for((tmp_path / "home" / "logs" / "web.log").exists)
    everything = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert not any(is_alive(each) for each in everything)


COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OWN = [name for name, service in COMPOSE["services"].items() if service.get("image") == "bunsen"]


@pytest.mark.parametrize("service", OWN)
def test_the_command_of_every_service_is_a_verb(service: str) -> None:
    words = COMPOSE["services"][service]["command"]
    assert callable(cli.parser(with_labs=False).parse_args(words).verb)


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_service_is_checked_and_nobody_is_root(service: str) -> None:
    described = COMPOSE["services"][service]
    assert described["healthcheck"]
    assert described["user"].partition(":")[0] not in {"", "0", "root"}
    assert "postgres_password" not in json.dumps(described.get("environment", {})).replace(
        "/run/secrets/postgres_password", ""
    )
