"""Runs of the pruning lab through its stages: what they show, leave, resume and refuse."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from labs.common.agreement import largest_difference, logits
from labs.common.loading import load_model
from labs.compression.pruning import recovery, speed, stages
from labs.compression.pruning.costs import LARGEST_COMPARED
from labs.compression.pruning.quantized import zeros_inside
from labs.compression.pruning.reports import read_reports, sparsity_of
from labs.compression.pruning.space import deflated_bytes, sparse_bytes
from labs.compression.pruning.spec import LAB, PruningParams
from labs.contract import Json, Stopped
from labs.estimate import Estimate, estimate
from labs.model_files import weight_files
from labs.models import ModelFacts, read_facts
from labs.rundir import stored_result
from labs.trainer import Outcome
from tests.labs.compressions import SMALL, compressed, compression_spec
from tests.labs.runs import events_of, make_context, make_spec

PROMPTS = [(1, 40, 50, 60, 70), (1, 99, 98, 97, 96, 95, 94)]
STAGES = ("setup", "prune", "inference", "analyze")
PARAMS: Json = {"recovery_steps": 4, "recovery_rank": 2, "evaluation_tokens": 256}


@dataclass(frozen=True, slots=True)
class Finished:
    """A run of all stages, with recovery."""

    folder: Path
    outcome: Outcome

    def shown(self, kind: str) -> dict[str, Json]:
        return {event["name"]: event for event in events_of(self.folder, kind)}

    def result(self, stage: str) -> Json:
        return stored_result(self.folder, stage) or {}

    def artifact(self, name: str) -> Path:
        return self.folder / "artifacts" / name


@pytest.fixture(scope="module")
def run(tiny_model: Path, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("runs") / "wanda"
    spec = compression_spec("pruning", tiny_model, tiny_dataset, PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "REPEATS", 4)
        return Finished(folder, compressed(folder, spec))


def test_it_goes_through_all_stages_and_logs_what_it_declares(run: Finished) -> None:
    assert run.outcome == Outcome("succeeded"), run.outcome.traceback
    completed = [e["stage"] for e in events_of(run.folder, "stage") if e["status"] == "completed"]
    assert completed == list(STAGES)
    logged = {key for event in events_of(run.folder, "metrics") for key in event["values"]}
    declared = [metric.key for metric in LAB.metrics]
    assert logged <= set(declared)
    # Of the recovery; the trainable share is counted by labs that train from the start.
    assert set(declared) - logged == {"model/trainable_parameters", "model/trainable_fraction"}
    assert len(declared) == len(set(declared))


def test_the_untouched_model_is_measured_first(run: Finished) -> None:
    first = next(e for e in events_of(run.folder, "metrics") if "test/perplexity" in e["values"])
    assert first["step"] == 0
    assert first["values"]["test/perplexity"] == run.result("prune")["test/base_perplexity"]


def test_it_shows_all_that_its_page_promises(run: Finished) -> None:
    tables = {"data", "calibration", "targets", "matrices", "sweep", "stacked", "space", "time"}
    assert set(run.shown("table")) >= tables | {"quality", "sizes", "latency"}
    assert set(run.shown("heatmap")) == {"output_error", "sparsity", "mask"}
    assert set(run.shown("plot")) == {"throughput", "sweep", "sensitivity"}
    assert set(run.shown("samples")) == {"masks", "side_by_side"}


def test_errors_come_layer_by_layer(run: Finished) -> None:
    points = [e for e in events_of(run.folder, "metrics") if "prune/output_error" in e["values"]]
    assert [point["step"] for point in points] == [1, 2]
    assert [point["values"]["prune/sparsity"] for point in points] == [0.5, 0.5]
    maps = [e for e in events_of(run.folder, "heatmap") if e["name"] == "output_error"]
    assert [sum(None not in row for row in shown["values"]) for shown in maps] == [1, 2]


def test_the_mask_is_that_of_the_first_matrix(run: Finished) -> None:
    weight = load_model(run.artifact("pruned"), "cpu").get_parameter(
        "model.layers.0.self_attn.q_proj.weight"
    )
    shown = torch.tensor(run.shown("heatmap")["mask"]["values"])
    assert shown.shape == (16, 32)
    assert torch.equal(shown, (weight[:16, :32] == 0).float())


def test_the_artifact_keeps_the_zeros_and_says_what_was_judged(run: Finished) -> None:
    pruned = run.artifact("pruned")
    reports = read_reports(pruned)
    model = AutoModelForCausalLM.from_pretrained(pruned)
    assert zeros_inside(model) == sparsity_of(reports) == run.result("prune")["sparsity"] == 0.5
    told = [run.result(stage)["test/perplexity"] for stage in ("prune", "inference")]
    assert told[0] == pytest.approx(told[1], rel=1e-5)
    card = (pruned / "README.md").read_text()
    assert 'base_model: "tiny"' in card
    assert str(run.folder) not in card


def test_the_lines_of_the_recoverys_card_load_it_beside_the_pruned_model(
    run: Finished, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As artifacts lie beside each other; merged, nothing would be left of the zeros."""
    adapter = run.artifact("recovery")
    lines = re.search(r"```python\n(.*?)```", (adapter / "README.md").read_text(), re.DOTALL)
    assert lines
    monkeypatch.chdir(adapter)
    world: dict[str, Any] = {}
    exec(lines[1], world)
    model = world["model"]
    assert isinstance(model, PeftModel)
    context = make_context(run.folder, make_spec(tiny_model, tiny_model, lab="pruning"))
    params = PruningParams.model_validate({**SMALL, **PARAMS})
    ours = recovery.load_recovered(params, context, run.artifact("pruned"), adapter)
    expected = logits(ours, PROMPTS, "cpu")
    assert largest_difference(expected, logits(model, PROMPTS, "cpu")) == 0
    merged = model.merge_and_unload()
    assert zeros_inside(merged) < 0.01


def test_other_sparsities_are_those_asked_for_and_the_own_one_is_the_same(run: Finished) -> None:
    rows = run.shown("table")["sweep"]["rows"]
    assert [row[2] for row in rows] == pytest.approx([0, *(0.2, 0.5, 0.7) * 3, 0.5, 0.5], abs=0.02)
    swept = run.result("analyze")["sweep"]
    # The text is no longer than what the analysis compares on.
    assert swept["wanda unstructured 0.5"] == pytest.approx(
        run.result("prune")["test/perplexity"], rel=1e-5
    )
    assert len(run.result("analyze")["layer_perplexity"]) == 2


def test_integers_on_top_leave_the_zeros(run: Finished) -> None:
    rows = {row[0]: row for row in run.shown("table")["stacked"]["rows"]}
    assert len(rows) == 4
    assert rows["Pruned, then 4-bit integers"][2] >= rows["Pruned"][2] == 0.5
    assert rows["Pruned, then 4-bit integers"][1] == rows["Base, then 4-bit integers"][1] < 6


def test_zeros_are_stored_as_any_other_number(run: Finished, tiny_model: Path) -> None:
    sizes = [
        p.stat().st_size for f in (tiny_model, run.artifact("pruned")) for p in weight_files(f)
    ]
    assert sizes[0] == sizes[1]
    assert deflated_bytes(run.artifact("pruned")) < 0.8 * deflated_bytes(tiny_model)


def test_sparse_bytes_follow_the_formulas(run: Finished) -> None:
    facts, reports = read_facts(run.artifact("pruned")), read_reports(run.artifact("pruned"))
    inside = sum(r.weights for r in reports)
    outside = 4 * (facts.parameters - inside)
    mask, rows = sparse_bytes(run.artifact("pruned"))
    assert mask == outside + inside // 8 + 4 * inside // 2
    assert rows == outside + 8 * inside // 2 + 4 * sum(r.outputs + 1 for r in reports)


def test_without_sparse_tensor_cores_the_page_says_so(run: Finished) -> None:
    *measured, missing = run.shown("table")["time"]["rows"]
    assert [row[3] is not None for row in measured] == [True, True, True]
    assert missing[3] is None
    assert "NVIDIA" in missing[-1]


def test_forms_that_are_timed_compute_the_same() -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(8, 16), torch.randn(5, 16)
    weight[weight.abs() < 0.5] = 0
    product = speed.compressed_rows(weight, inputs)().t()
    torch.testing.assert_close(product, inputs @ weight.t())


def test_a_run_that_was_stopped_while_it_recovered_does_not_prune_again(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    spec = compression_spec("pruning", tiny_model, tiny_dataset, PARAMS)
    params = PruningParams.model_validate(spec.params)

    def prune(folder: str, stopping: Callable[[], bool]) -> Json:
        return stages.prune(params, make_context(tmp_path / folder, spec, stopping))

    whole = prune("whole", lambda: False)
    asked = count()
    steps = len(events_of(tmp_path / "whole", "progress"))
    assert steps > 0

    def while_recovering() -> bool:
        return (tmp_path / "parts/artifacts/pruned").is_dir() and next(asked) >= 2

    with pytest.raises(Stopped):
        prune("parts", while_recovering)
    masks = len(events_of(tmp_path / "parts", "heatmap"))
    resumed = prune("parts", lambda: False)
    assert len(events_of(tmp_path / "parts", "heatmap")) == masks
    timed = {"prune_seconds", "memory/peak_bytes", "recovery_bytes"}
    assert {k: v for k, v in resumed.items() if k not in timed} == {
        k: v for k, v in whole.items() if k not in timed
    }
    content = [
        (tmp_path / f / "artifacts/recovery/adapter_model.safetensors") for f in ("whole", "parts")
    ]
    assert content[0].read_bytes() == content[1].read_bytes()


@pytest.mark.parametrize("preset", LAB.presets)
def test_presets_are_sound(preset: str) -> None:
    assert LAB.accepts.refuse(facts(), PruningParams.model_validate(LAB.presets[preset])) is None


@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
def test_a_pattern_has_one_half_and_says_so(pattern: str) -> None:
    assert PruningParams.model_validate({"pattern": pattern}).sparsity == 0.5
    with pytest.raises(ValidationError, match=r"set the sparsity to 0\.5"):
        PruningParams.model_validate({"pattern": pattern, "sparsity": 0.7})


def test_what_cannot_be_pruned_is_refused_with_what_would_work() -> None:
    told = {
        "pattern": (facts(inputs=6), {"pattern": "2:4"}),
        "calibration_length": (facts(), {"calibration_length": 2048}),
        "evaluation_window": (facts(), {"evaluation_window": 2048, "evaluation_stride": 2048}),
        "max_length": (facts(), {"max_length": 2048}),
        "": (replace(facts(), quantization="compressed-tensors"), {}),
    }
    for parameter, (found, params) in told.items():
        refused = LAB.accepts.refuse(found, PruningParams.model_validate(params))
        assert refused is not None, parameter
        assert refused.parameter == parameter
        assert "hoose" in str(refused) or parameter == "max_length"
    assert LAB.accepts.refuse(facts(inputs=12), PruningParams(pattern="2:4")) is None
    assert LAB.accepts.refuse(facts(inputs=12), PruningParams(pattern="4:8")) is not None


def facts(inputs: int = 64) -> ModelFacts:
    """Of a model with one kind of matrix."""
    from labs.models import Matrix

    return ModelFacts(
        name="tiny", model_type="qwen2", architecture="Qwen2ForCausalLM", layers=2, hidden_size=64,
        heads=4, kv_heads=2, head_dim=16, intermediate_size=128, vocab_size=259, max_positions=1024,
        tied=True, biases={}, parameters=100_000, bytes=400_000, dtype="float32",
        has_chat_template=True, quantization="", matrices={"q_proj": Matrix(2, 64, inputs)},
        sublayers=frozenset({"self_attn"}),
    )  # fmt: skip


def test_reports_are_json_beside_the_weights(run: Finished) -> None:
    stored = json.loads((run.artifact("pruned") / "pruning.json").read_text())
    assert len(stored["matrices"]) == 14


def test_an_estimate_counts_what_recovery_and_hessians_take() -> None:
    def estimated(changes: Json, **of_model: Any) -> Estimate:
        found = replace(facts(), parameters=LARGEST_COMPARED + 1, **of_model)
        return estimate(LAB, found, PruningParams.model_validate(changes), "cpu")

    plain, solved = estimated({}), estimated({"method": "sparsegpt"})
    recovered = estimated({"recovery_steps": 50})
    # Four matrices of 64 × 64: that of the layer, its inverse, and two copies on the way.
    assert solved.parts["observed"] - plain.parts["observed"] == 4 * 4 * 64 * 64
    assert recovered.total_bytes > plain.total_bytes
    assert recovered.seconds_high > plain.seconds_high
