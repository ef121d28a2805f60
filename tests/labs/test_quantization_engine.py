"""GPTQModel as the engine: what its process is told, hears and gives; without the engine itself.

The stand-in below speaks as `engine_child.py` does. The child itself is run by hand against GPTQModel.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from labs.common.loading import load_model
from labs.compression.quantization import engine
from labs.compression.quantization.engine import environment, quantize_by_engine, request_of
from labs.compression.quantization.engine_child import backend_of, config_of, watched
from labs.compression.quantization.given import Given
from labs.compression.quantization.grid import round_to_nearest
from labs.compression.quantization.quantize import MatrixReport, quantize_model
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.spec import QuantizationParams
from labs.contract import LabError, Stopped

NAME = "model.layers.0.self_attn.q_proj"
STAND_IN = """
import json, sys, shutil
asked = json.load(open(sys.argv[1]))
print("what it prints beside", file=sys.stderr)
print(json.dumps({"matrix": "%s", "seconds": 0.5}), flush=True)
shutil.copy(sys.argv[0] + ".safetensors", asked["target"])
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "child.py"
    path.write_text(STAND_IN % NAME)
    monkeypatch.setattr(engine, "CHILD", path)
    return path


def ask(scheme: Scheme, check: Any = lambda: None) -> dict[str, Given]:
    blocks = torch.zeros(2, 8, dtype=torch.long)
    python = Path(sys.executable)
    told: list[str] = []
    made = quantize_by_engine(
        python, Path("base"), blocks, scheme, torch.float32, "cpu", told.append, check
    )
    assert told == [NAME]
    return made


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_the_engine_gives_lies_on_our_grid(child: Path, bits: int, symmetric: bool) -> None:
    """Its integers count from 0, ours lie around it; the weights are the same."""
    weight = torch.randn(6, 32, generator=torch.Generator().manual_seed(bits))
    ours = round_to_nearest(weight, bits, 16, symmetric)
    half = 1 << (bits - 1)
    zero = torch.zeros(1) + half if ours.grid.zero is None else ours.grid.zero + half
    parts = {"weight": ours.weight, "scale": ours.grid.scale, "zero": zero}
    save_file({f"{NAME}.{k}": v.contiguous() for k, v in parts.items()}, f"{child}.safetensors")
    scheme = Scheme("gptq", bits=bits, group_size=16, symmetric=symmetric)
    made = ask(scheme)[NAME]
    assert made.seconds == 0.5
    assert torch.equal(made.rounded.integers, ours.integers)
    assert torch.equal(made.rounded.weight, ours.weight)


def test_the_child_has_workers_enough_and_no_hub() -> None:
    """On one or two cores GPTQModel asks its pool for more workers than it made, and dies."""
    told = environment({"PYTHONPATH": "/ours", "PYTHONSAFEPATH": "1", "HOME": "/h"})
    assert int(told["GPTQMODEL_CPU_WORKERS"]) >= 2
    assert told["HF_HUB_OFFLINE"] == "1"
    assert not [name for name in told if name.startswith("PYTHON")]


def test_awq_without_a_gpu_names_kernels_that_need_none() -> None:
    asked = request_of(Path("b"), Scheme("awq"), "cpu", Path("w"))
    assert backend_of(asked) == "AWQ_TORCH"
    assert backend_of({**asked, "device": "cuda:0"}) == "AUTO"
    assert backend_of({**asked, "method": "gptq"}) == "AUTO"


def test_the_child_is_told_the_scheme() -> None:
    scheme = Scheme("gptq", bits=3, group_size=None, symmetric=False, damping=0.05)
    asked = json.loads(json.dumps(request_of(Path("b"), scheme, "cuda", Path("w"))))
    config = config_of(asked)
    assert config["device"] == "cuda:0"
    assert (config["bits"], config["group_size"], config["sym"]) == (3, -1, False)
    # Without static groups a checkpoint would need an index of groups.
    assert (config["desc_act"], config["static_groups"], config["damp_percent"]) == (
        True,
        True,
        0.05,
    )


def test_matrices_of_different_layers_are_kept_apart(capfd: pytest.CaptureFixture[str]) -> None:
    class Task:
        def __init__(self, name: str) -> None:
            self._named_module = type("Named", (), {"full_name": name})()

    found: dict[str, Any] = {}
    made = (torch.ones(2, 2), torch.ones(2, 1), torch.ones(1), "more")
    keeping = watched(lambda task: made, found)
    assert [keeping(Task(f"layers.{i}.q_proj")) for i in range(2)] == [made, made]
    assert len(found) == 6
    said = [json.loads(line)["matrix"] for line in capfd.readouterr().out.splitlines()]
    assert said == ["layers.0.q_proj", "layers.1.q_proj"]


def test_an_engine_that_fails_says_its_last_line(child: Path) -> None:
    child.write_text("raise SystemExit('no CUDA kernels for this GPU')")
    with pytest.raises(LabError, match=r"no CUDA kernels for this GPU.*engine to own") as failed:
        ask(Scheme("gptq"))
    assert failed.value.parameter == "engine"


def test_a_stop_ends_the_engine(child: Path) -> None:
    pid = child.with_name("pid")
    child.write_text(
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        'print(\'{"matrix": "m", "seconds": 1}\', flush=True); time.sleep(600)'
    )

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        ask(Scheme("gptq"), stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_given_matrices_are_put_in_and_measured(tiny_model: Path) -> None:
    """The same reports, weights and integers as where the lab rounds by itself."""
    scheme = Scheme("rtn", group_size=32)
    blocks = torch.randint(3, 259, (4, 32), generator=torch.Generator().manual_seed(0))
    runs: list[tuple[list[MatrixReport], Any]] = []
    given: dict[str, Given] | None = None
    for _ in range(2):
        told: list[MatrixReport] = []
        model = load_model(tiny_model, "cpu")
        made = quantize_model(model, blocks, scheme, "cpu", torch.float32, told.append, given=given)
        runs.append((told, made))
        given = {name: Given(rounded, 1.0) for name, rounded in made.matrices.items()}
    (own, by_us), (put, by_engine) = runs
    for ours, theirs in zip(own, put, strict=True):
        assert (ours.name, ours.layer, ours.bits) == (theirs.name, theirs.layer, theirs.bits)
        assert theirs.output_error == pytest.approx(ours.output_error, rel=1e-4)
        assert theirs.rounding_error == pytest.approx(ours.rounding_error, rel=1e-4)
        assert torch.equal(ours.after, theirs.after)
    for name, rounded in by_us.matrices.items():
        assert torch.equal(rounded.integers, by_engine.matrices[name].integers)


def test_the_engine_is_for_gptq_only() -> None:
    assert QuantizationParams(engine="gptqmodel").method == "gptq"
    with pytest.raises(ValueError, match="GPTQModel is for GPTQ"):
        QuantizationParams(engine="gptqmodel", method="awq")
