"""`bunsen lab`, as a person or a script uses it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from app import cli
from labs import bundled
from labs.events import read_events
from tests.labs.runs import events_of

COMMAND = [sys.executable, "-c", "import sys; from app.cli import main; sys.exit(main())", "lab"]
TINY = [
    "--set",
    "steps=2",
    "--set",
    "batch_size=2",
    "--set",
    "max_length=64",
    "--stages",
    "setup,train",
]


def lab(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.main(["lab", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def start(words: Sequence[str]) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_every_lab_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lab("list", capsys=capsys)
    assert code == 0
    assert "lora" in out


def test_a_script_gets_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = lab("list", "--json", capsys=capsys)
    assert {entry["slug"] for entry in json.loads(out)} >= {"lora"}
    _, out, _ = lab("show", "lora", "--json", capsys=capsys)
    assert json.loads(out)["params"]["properties"]["rank"]["maximum"] == 256


def test_showing_a_lab_says_what_each_parameter_allows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lab("show", "lora", capsys=capsys)
    assert code == 0
    assert "a whole number from 1 to 256" in out
    assert "lora, rslora or dora" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "lroa"], "There is no lab “lroa”. Did you mean: lora?"),
        (["run"], "Name a lab."),
        (["run", "lora", "--set", "rank"], "not of the form name=value"),
        (["run", "lora", "--set", "rank=512"], "allowed is a whole number from 1 to 256"),
        (["run", "lora", "--set", "rnak=8"], "Did you mean: rank?"),
        (["run", "lora", "--set", "variant=qlora"], "allowed is lora, rslora or dora"),
        (["run", "lora", "--set", "double_quantization=true"], "needs base quantization nf4"),
        (["run", "lora", "--preset", "wild"], "There is no preset “wild”."),
        (["run", "lora", "--model", "/nowhere"], "There is no model “/nowhere”."),
        (["run", "lora", "--device", "tpu"], "“tpu” is no device"),
        (["run", "--resume", "/nowhere"], "is no run directory"),
    ],
)
def test_wrong_use_is_told_and_gives_two(
    tiny_model: Path,
    tiny_dataset: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    known = ["--model", str(tiny_model), "--dataset", str(tiny_dataset), "--set", "max_length=64"]
    given = (
        [*words, *known] if words[0] == "run" and not {"--model", "--resume"} & {*words} else words
    )
    code, out, err = lab(*given, capsys=capsys)
    assert (code, out) == (2, "")
    assert sentence in err


def test_a_gpu_that_is_not_here_gives_three(
    tiny_model: Path, tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ["--model", str(tiny_model), "--dataset", str(tiny_dataset), "--set", "max_length=64"]
    code, _, err = lab("run", "lora", *known, "--device", "cuda:63", capsys=capsys)
    assert code == 3
    assert "cuda:63 is not here" in err


def test_a_dataset_that_does_not_hold_is_refused_line_by_line(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a", "completion": "b"}\n{bad\n')
    known = ["--model", str(tiny_model), "--dataset", str(broken), "--set", "max_length=64"]
    code, _, err = lab("run", "lora", *known, capsys=capsys)
    assert code == 2
    assert "broken.jsonl, line 2: Not valid JSON" in err


@pytest.mark.slow
def test_a_run_gives_one_json_object_for_each_event(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    words = ["run", "lora", "--model", str(tiny_model), "--dataset", str(tiny_dataset), *TINY]
    process = start([*words, "--out", str(tmp_path / "run"), "--json"])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert events == list(read_events(tmp_path / "run"))
    assert (events[0]["kind"], events[-1]["outcome"]) == ("environment", "succeeded")
    assert "\x1b" not in out


@pytest.mark.slow
@pytest.mark.faults
def test_control_c_keeps_a_checkpoint_and_says_how_to_go_on(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    words = ["run", "lora", "--model", str(tiny_model), "--dataset", str(tiny_dataset)]
    long = ["--set", "steps=100000", "--set", "max_length=64", "--stages", "train"]
    process = start([*words, *long, "--out", str(run_dir), "--json"])
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step", 0) >= 3:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"bunsen lab run --resume {run_dir}" in err
    assert list(read_events(run_dir))[-1]["outcome"] == "stopped"
    step = events_of(run_dir, "checkpoint")[-1]["step"]

    again = start(["run", "--resume", str(run_dir), "--json"])
    assert again.stdout is not None
    for line in again.stdout:
        event = json.loads(line)
        if event["kind"] == "resumed":
            assert (event["step"], event["attempt"]) == (step, 2)
            break
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)


def test_the_defaults_of_every_lab_are_bundled() -> None:
    from labs import registry

    for each in registry.all_labs():
        assert each.default_dataset in bundled.datasets()
        assert each.default_model in bundled.models()
