"""The same layers quantized by other implementations; `references/record_quantization.py` recorded them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labs.common.loading import load_model
from labs.compression.common.layerwise import Matrix
from labs.compression.quantization.errors import output_error
from labs.compression.quantization.inputs import Inputs
from labs.compression.quantization.method import gptq
from labs.compression.quantization.quantize import quantize_model
from labs.compression.quantization.scheme import Scheme

REFERENCES = Path(__file__).parent / "references"
STUDENT = Path("labs/bundled/models/student")
# bits, group size (-1: a row), symmetric, activation order
EQUAL = ["4_-1_1_0", "3_-1_0_1", "4_128_1_0", "4_128_0_1", "2_64_0_1", "8_32_1_1"]
# Without an order, gptqmodel fits the second group of a block to weights that the first one's errors
# have not reached yet; ours have been reached.
ALIKE = "4_32_1_0"


def recorded() -> tuple[Tensor, Inputs, dict[str, Tensor]]:
    tensors = load_file(REFERENCES / "gptq.safetensors")
    weight, tokens = tensors["weight"].float() / 64, tensors["tokens"].float() / 64
    inputs = Inputs(Matrix("", nn.Linear(weight.shape[1], weight.shape[0], bias=False)))
    inputs.add(tokens)
    return weight, inputs, tensors


def both(case: str) -> tuple[Tensor, Tensor, Tensor, Inputs]:
    """The weights, what we and what gptqmodel make of them, and the inputs."""
    bits, size, symmetric, ordered = (int(part) for part in case.split("_"))
    weight, inputs, tensors = recorded()
    ours = gptq(
        weight,
        inputs.factor(0.01, bool(ordered)),
        bits,
        None if size == -1 else size,
        bool(symmetric),
        inputs.order() if ordered else None,
    ).weight
    scale = tensors[f"{case}.scale"]
    columns = scale.repeat_interleave(weight.shape[1] // scale.shape[1], dim=1)
    return weight, ours, tensors[f"{case}.integers"] * columns, inputs


@pytest.mark.parametrize("case", EQUAL)
def test_gptq_rounds_as_gptqmodel_does(case: str) -> None:
    # Recorded on one machine, every number was equal; another order of float32 sums may turn one
    # close call, and with it what follows in that row.
    weight, ours, theirs, inputs = both(case)
    assert torch.isclose(ours, theirs, atol=1e-4).float().mean() > 0.99
    errors = [output_error(weight, made, inputs.hessian) for made in (ours, theirs)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_gptq_is_as_good_where_gptqmodel_fits_groups_to_older_weights() -> None:
    weight, ours, theirs, inputs = both(ALIKE)
    errors = [output_error(weight, made, inputs.hessian) for made in (ours, theirs)]
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


@pytest.mark.parametrize(("case", "clipping", "share"), [(1, False, 1.25), (2, True, 1.0)])
def test_awq_is_no_worse_than_that_of_llmcompressor(
    case: int, clipping: bool, share: float
) -> None:
    # They differ in the search: theirs takes the size of the weights into the scales, ours cuts the
    # largest weights. Without the cut, ours may be a quarter worse.
    stored = json.loads((REFERENCES / "awq.json").read_text(encoding="utf-8"))
    found, blocks = stored["cases"][case], torch.tensor(stored["blocks"])
    assert logits_error(found, blocks, clipping) <= share * found["logits_error"]


@torch.no_grad()
def logits_error(case: dict[str, float], blocks: Tensor, clipping: bool) -> float:
    """‖logits − those of the whole model‖² / ‖those‖², of the bundled student."""
    whole = load_model(STUDENT, "cpu")(blocks).logits
    scheme = Scheme(
        "awq",
        int(case["bits"]),
        int(case["group_size"]),
        bool(case["symmetric"]),
        clipping=clipping,
    )
    model = quantize_model(load_model(STUDENT, "cpu"), blocks, scheme, "cpu", torch.float32).model
    return float((model(blocks).logits - whole).square().sum() / whole.square().sum())
