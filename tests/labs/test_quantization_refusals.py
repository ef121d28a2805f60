"""What is said before a run is queued, of a model that cannot be quantized like that."""

import dataclasses
from pathlib import Path

import pytest

from labs.compression.quantization.refusals import refuse_scheme
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.sizes import bits_per_weight
from labs.models import Matrix, ModelFacts, read_facts

BASE = Path("labs/bundled/models/base")
EVERY = [
    Scheme("rtn", 2, 32),
    Scheme("gptq", 4, 128),
    Scheme("awq", 3, None),
    Scheme("smoothquant", 8, None),
    Scheme("int8", 8),
    Scheme("nf4", 4),
]


def facts(**changes: object) -> ModelFacts:
    return dataclasses.replace(read_facts(BASE), **changes)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: scheme.method)
def test_the_bundled_model_goes_with_every_method(scheme: Scheme) -> None:
    assert refuse_scheme(facts(), scheme) is None


def test_a_group_that_does_not_divide_is_told_with_what_would_work() -> None:
    odd = {"q_proj": Matrix(2, 96, 96), "down_proj": Matrix(2, 96, 192)}
    refused = refuse_scheme(facts(matrices=odd), Scheme("gptq", 4, 64))
    assert refused is not None
    assert refused.parameter == "group_size"
    assert str(refused).endswith("What would work: 32, per channel.")
    assert "96 inputs of q_proj" in str(refused)
    assert refuse_scheme(facts(matrices=odd), Scheme("gptq", 4, 32)) is None
    assert refuse_scheme(facts(matrices=odd), Scheme("gptq", 4, None)) is None
    # Groups mean nothing to bitsandbytes.
    assert refuse_scheme(facts(matrices=odd), Scheme("nf4", 4, 64)) is None


@pytest.mark.parametrize("method", ["awq", "smoothquant"])
def test_families_whose_norms_are_not_known_are_refused(method: str) -> None:
    scheme = Scheme("awq", 4, None) if method == "awq" else Scheme("smoothquant", 8, None)
    refused = refuse_scheme(facts(model_type="gpt_neox"), scheme)
    assert refused is not None
    assert refused.parameter == "method"
    assert "qwen2" in str(refused)
    assert refuse_scheme(facts(model_type="gpt_neox"), Scheme("gptq", 4, None)) is None


@pytest.mark.parametrize("family", ["gpt2", "mixtral", "qwen2_moe"])
def test_matrices_that_are_no_linear_layers_are_refused(family: str) -> None:
    assert refuse_scheme(facts(model_type=family), Scheme("gptq", 4, None)) is not None


@pytest.mark.parametrize(
    ("method", "bits", "group"), [("smoothquant", 4, None), ("nf4", 8, None), ("gptq", 5, None)]
)
def test_bits_that_a_method_has_not_are_an_error(method: str, bits: int, group: int | None) -> None:
    with pytest.raises(ValueError, match=f"{bits} bits"):
        Scheme(method, bits, group)  # type: ignore[arg-type]  # one of the methods


def test_stored_bits_count_scales_and_zero_points() -> None:
    one = facts(matrices={"q_proj": Matrix(1, 256, 256)})
    # A float32 scale and a zero point of 4 bits for every 128 weights; two numbers for the shape.
    stored = bits_per_weight(one, Scheme("gptq", 4, 128, symmetric=False), 4)
    assert stored == pytest.approx(4 + (32 + 4) / 128 + 128 / 256**2)


def test_nf4_of_rows_that_a_processor_cannot_pack_is_refused() -> None:
    odd = {"q_proj": Matrix(2, 64, 64), "down_proj": Matrix(2, 60, 96)}
    refused = refuse_scheme(facts(matrices=odd), Scheme("nf4", 4))
    assert refused is not None
    assert refused.parameter == "method"
    assert "down_proj" in str(refused)
    assert "60" in str(refused)
    assert refuse_scheme(facts(matrices=odd), Scheme("int8", 8)) is None
