"""What must hold of BitFit in a model alone; what holds of every tuning is in test_tuning_laws."""

from pathlib import Path

import pytest
import torch

from labs.common.agreement import largest_difference, logits
from labs.common.loading import load_model
from labs.peft.bitfit.spec import BitFitParams
from labs.peft.bitfit.tuning import BitFitTuning, place, trained_biases

PROMPTS = [(1, 40, 50, 60, 70)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_base_with_the_steps_is_the_trained_model(
    tiny_model: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """In 16 bits as well: training rounds b + Δb just as the loader does."""
    tuning = BitFitTuning(BitFitParams())
    trained = tuning.attach(load_model(tiny_model, "cpu", dtype))
    torch.manual_seed(0)
    with torch.no_grad():
        for bias in trained_biases(trained).values():
            bias.add_(torch.randn_like(bias))
    tuning.save(trained, tmp_path, "tiny")
    said = logits(trained, PROMPTS, "cpu")
    for load in (tuning.load, BitFitTuning(BitFitParams()).as_trained):
        again = load(load_model(tiny_model, "cpu", dtype), tmp_path)
        assert largest_difference(said, logits(again, PROMPTS, "cpu")) <= 1e-6
    assert {
        p.dtype for p in tuning.load(load_model(tiny_model, "cpu", dtype), tmp_path).parameters()
    } == {dtype}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("transformer.h.3.attn.c_proj.bias", ("3", "attn.c_proj")),
        ("transformer.h.3.mlp.c_proj.bias", ("3", "mlp.c_proj")),
        ("transformer.ln_f.bias", ("–", "transformer.ln_f")),
    ],
)
def test_a_bias_is_told_by_its_place_in_the_layer(name: str, expected: tuple[str, str]) -> None:
    assert place(name) == expected
