"""Runs of the quantization lab through its stages: what they show, leave, prove and refuse."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from labs import registry
from labs.common.agreement import agree, largest_difference, logits
from labs.common.loading import load_model
from labs.compression.quantization.sizes import expected_bytes
from labs.compression.quantization.spec import LAB, QuantizationParams, refuse
from labs.compression.quantization.stages.deploy import expanded
from labs.contract import Json
from labs.model_files import read_tensors
from labs.models import read_facts
from labs.rundir import stored_result
from labs.trainer import Outcome, StopFlag, run_attempt
from tests.labs.compressions import compressed, compression_spec
from tests.labs.families import make_family
from tests.labs.runs import events_of

PROMPTS = [(1, 40, 50, 60, 70), (1, 99, 98, 97, 96, 95, 94)]
STAGES = ("setup", "quantize", "inference", "deploy")
# Small groups: the tiny model's matrices have 64 and 128 inputs.
GPTQ: Json = {"group_size": 32, "gguf": "q8_0"}


@dataclass(frozen=True, slots=True)
class Finished:
    """A run of all stages."""

    folder: Path
    outcome: Outcome

    def shown(self, kind: str) -> dict[str, Json]:
        return {event["name"]: event for event in events_of(self.folder, kind)}

    def result(self, stage: str) -> Json:
        return stored_result(self.folder, stage) or {}


@pytest.fixture(scope="module")
def run(tiny_model: Path, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("runs") / "gptq"
    spec = compression_spec("quantization", tiny_model, tiny_dataset, GPTQ)
    return Finished(folder, compressed(folder, spec))


def test_it_goes_through_all_stages_and_logs_what_it_declares(run: Finished) -> None:
    assert run.outcome == Outcome("succeeded"), run.outcome.traceback
    completed = [e["stage"] for e in events_of(run.folder, "stage") if e["status"] == "completed"]
    assert completed == list(STAGES)
    logged = {key for event in events_of(run.folder, "metrics") for key in event["values"]}
    assert logged == {metric.key for metric in LAB.metrics}


def test_it_shows_all_that_its_page_promises(run: Finished) -> None:
    tables = {"text", "matrices", "errors", "file", "quality", "sizes", "latency", "change"}
    assert set(run.shown("table")) == tables | {"load", "gguf"}
    assert set(run.shown("heatmap")) == {"output_error"}
    assert set(run.shown("plot")) == {"stairs", "weights", "throughput"}
    assert set(run.shown("samples")) == {"blocks", "side_by_side", "llama"}


def test_errors_come_layer_by_layer_and_gptq_is_never_above_rounding(run: Finished) -> None:
    points = [e for e in events_of(run.folder, "metrics") if "quantize/output_error" in e["values"]]
    assert [point["step"] for point in points] == [1, 2]
    for point in points:
        values = point["values"]
        assert values["quantize/output_error"] <= values["quantize/rounding_error"]
    maps = [e["values"] for e in events_of(run.folder, "heatmap")]
    assert [sum(None not in row for row in rows) for rows in maps] == [1, 2]


def test_the_file_is_as_large_as_the_formula_says(run: Finished, tiny_model: Path) -> None:
    params = QuantizationParams(**GPTQ)
    expected = expected_bytes(read_facts(tiny_model), params.scheme, 4)
    tensors = read_tensors(run.folder / "artifacts" / "quantized")
    assert sum(tensor.bytes for tensor in tensors.values()) == expected
    assert run.result("setup")["expected_bytes"] == expected


def test_what_is_saved_says_what_was_in_memory_and_was_judged(run: Finished) -> None:
    assert run.result("deploy")["load/max_difference"] <= run.result("deploy")["tolerance"]
    told = [run.result(stage)["test/perplexity"] for stage in ("quantize", "inference")]
    assert told[0] == pytest.approx(told[1], rel=1e-5)


def test_facts_of_a_checkpoint_are_those_of_its_base(run: Finished, tiny_model: Path) -> None:
    packed = read_facts(run.folder / "artifacts" / "quantized")
    base = read_facts(tiny_model)
    assert (packed.parameters, packed.matrices) == (base.parameters, base.matrices)
    assert packed.quantization == "compressed-tensors"
    assert packed.dtype == base.dtype
    assert packed.bytes < base.bytes / 2


@pytest.mark.parametrize("lab", registry.all_labs(), ids=lambda lab: lab.slug)
def test_no_lab_but_serving_starts_from_it(run: Finished, lab: Any) -> None:
    refused = lab.accepts.refuse(read_facts(run.folder / "artifacts" / "quantized"), lab.params())
    if lab.slug == "serve":
        assert refused is None
    else:
        assert "quantized" in str(refused)


def test_the_lines_of_its_card_load_it(
    run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(shutil.copytree(run.folder / "artifacts" / "quantized", tmp_path / "here"))
    card = (here / "README.md").read_text()
    lines = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert lines
    assert str(run.folder) not in card
    monkeypatch.chdir(here)
    world: dict[str, Any] = {}
    exec(lines[1], world)
    ours = load_model(run.folder / "artifacts" / "quantized", "cpu")
    theirs = logits(world["model"], PROMPTS, "cpu")
    assert largest_difference(logits(ours, PROMPTS, "cpu"), theirs) == 0


def test_a_resumed_run_skips_what_is_done(run: Finished, tmp_path: Path) -> None:
    again = Path(shutil.copytree(run.folder, tmp_path / "again"))
    (again / "stages" / "deploy.json").unlink()
    spec = json.loads((again / "params.json").read_text())
    (again / "params.json").write_text(json.dumps({**spec, "attempt": 2}))
    assert run_attempt(again, StopFlag()).outcome == "succeeded"
    seen = [(e["stage"], e["status"]) for e in events_of(again, "stage") if e["attempt"] == 2]
    assert [stage for stage, status in seen if status == "skipped"] == list(STAGES[:3])


@pytest.mark.parametrize(
    "params",
    [
        {"method": "rtn", "bits": 3, "group_size": 64, "symmetric": False},
        {"method": "awq", "group_size": 32},
        {"method": "smoothquant", "bits": 8},
        {"method": "int8", "bits": 8},
        {"method": "nf4"},
    ],
    ids=lambda params: params["method"],
)
def test_every_method_is_saved_and_proved(
    params: Json, tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    asked = {"gguf": "none", **params}
    stages = ("setup", "quantize", "deploy")
    spec = compression_spec("quantization", tiny_model, tiny_dataset, asked, stages)
    outcome = compressed(tmp_path, spec)
    assert outcome == Outcome("succeeded"), outcome.traceback
    deployed = stored_result(tmp_path, "deploy") or {}
    assert deployed["load/max_difference"] <= deployed["tolerance"]
    folder = tmp_path / "artifacts" / "quantized"
    facts = read_facts(folder)
    assert facts.parameters == read_facts(tiny_model).parameters
    assert facts.quantization
    # What is written for llama.cpp: ordinary weights that say nearly the same.
    model = load_model(folder, "cpu")
    said = logits(model, PROMPTS, "cpu")
    whole = expanded(model)
    assert set(whole.state_dict()) == set(load_model(tiny_model, "cpu").state_dict())
    assert agree(said, logits(whole, PROMPTS, "cpu"), torch.bfloat16).difference < 0.1


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"group_size": 128}, "do not divide"),
        ({"calibration_length": 512, "group_size": 32}, "reads at most 256"),
        ({"evaluation_window": 512, "group_size": 32}, "reads at most 256"),
        ({"max_length": 512, "group_size": 32}, "reads at most 256"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(params: Json, told: str, tiny_model: Path) -> None:
    refused = refuse(read_facts(tiny_model), QuantizationParams.model_validate(params))
    assert refused is not None
    assert told in str(refused)
    assert refused.parameter in params


@pytest.mark.parametrize(
    "params",
    [
        {"method": "smoothquant"},
        {"method": "int8", "bits": 4},
        {"method": "nf4", "bits": 8},
        {"method": "smoothquant", "bits": 8, "symmetric": False},
        {"evaluation_window": 32, "evaluation_stride": 64},
        {"bits": 5},
        {"group_size": "row"},
    ],
)
def test_parameters_that_contradict_each_other_are_no_parameters(params: Json) -> None:
    with pytest.raises(ValueError, match=r"bits|zero points|stride|group_size"):
        QuantizationParams.model_validate(params)


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_families_that_a_method_does_not_know_are_told_what_would_work(
    family: str, tmp_path: Path
) -> None:
    facts = read_facts(make_family(family, tmp_path / family))
    refused = refuse(facts, QuantizationParams(method="awq", group_size=32, gguf="none"))
    assert refused is not None
    assert "Choose" in str(refused)


def test_without_bitsandbytes_its_methods_are_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labs.compression.quantization.spec.has_bitsandbytes", lambda: False)
    refused = refuse(read_facts(tiny_model), QuantizationParams(method="nf4"))
    assert refused is not None
    assert "bitsandbytes" in str(refused)


def test_forms_send_numbers_as_text() -> None:
    read = QuantizationParams.model_validate({"bits": "3", "group_size": "64"})
    assert (read.bits, read.group_size) == (3, 64)
    assert QuantizationParams.model_validate({"group_size": "channel"}).scheme.group_size is None


# Each number of the theory pages, and where it comes from.
NUMBERS = {
    "4.125": 4 + 16 / 128,
    "4.15625": 4 + 16 / 128 + 4 / 128,
    "4.5": 4 + 16 / 32,
    "3.125": 3 + 16 / 128,
    "2.28125": 2 + 16 / 64 + 2 / 64,
    "33,554,432": 4096 * 4096 * 2,
    "8,650,752": 4096 * 4096 * (4 + 16 / 128) / 8,
    "4.59": (15 / 7) ** 2,
    "5.44": (7 / 3) ** 2,
    "= 20": 100**0.5 / 0.25**0.5,
    "4.127": 4 + 8 / 64 + 32 / (64 * 256),
    "3.61 GB": 7 * (4 + 16 / 128) / 8,
    "14 GB": 7 * 16 / 8,
    "15.6": 14 / 900 * 1000,
    "4.0": 7 * (4 + 16 / 128) / 8 / 900 * 1000,
}


@pytest.mark.parametrize("page", ["theory.md", "theory.zh-Hant.md"])
def test_the_worked_numbers_of_the_theory_are_right(page: str) -> None:
    text = (registry.folder(LAB) / page).read_text(encoding="utf-8")
    for shown, computed in NUMBERS.items():
        assert shown in text
        number = re.sub(r"[^0-9.]", "", shown)
        decimals = len(number.partition(".")[2])
        assert f"{computed:.{decimals}f}" == number, shown
