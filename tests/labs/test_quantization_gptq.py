"""What GPTQ promises, on random layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labs.compression.common.inverse import inverse_factor
from labs.compression.quantization.errors import output_error, row_errors
from labs.compression.quantization.grid import Rounded, round_to_nearest
from labs.compression.quantization.method import gptq, keep_better_rows

seeds = st.integers(0, 1 << 30)
bits = st.sampled_from([2, 3, 4, 8])
groups = st.sampled_from([None, 32, 16])
DAMPING = 0.01


def layer(seed: int, inputs: int = 64, outputs: int = 8) -> tuple[Tensor, Tensor]:
    """Weights, and the Hessian of inputs of different sizes that depend on each other."""
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randn(4 * inputs, inputs, generator=dice)
    mixed = tokens @ torch.randn(inputs, inputs, generator=dice) / inputs**0.5
    mixed *= torch.rand(inputs, generator=dice)
    return torch.randn(outputs, inputs, generator=dice), 2 * mixed.T @ mixed / len(mixed)


def by_gptq(
    weight: Tensor, hessian: Tensor, bits: int, group: int | None, symmetric: bool, ordered: bool
) -> Rounded:
    if not ordered:
        return gptq(weight, inverse_factor(hessian, DAMPING), bits, group, symmetric)
    order = torch.argsort(hessian.diagonal(), descending=True)
    factor = inverse_factor(hessian[order][:, order], DAMPING)
    return gptq(weight, factor, bits, group, symmetric, order)


@given(seeds, bits, groups, st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_output_is_never_further_off_than_by_plain_rounding(
    seed: int, bits: int, group: int | None, symmetric: bool, ordered: bool
) -> None:
    weight, hessian = layer(seed)
    plain = round_to_nearest(weight, bits, group, symmetric)
    made = by_gptq(weight, hessian, bits, group, symmetric, ordered)
    errors = [row_errors(weight, each.weight, hessian) for each in (made, plain)]
    kept = keep_better_rows(made, errors[0], plain, errors[1])
    found = row_errors(weight, kept.weight, hessian)
    assert torch.allclose(found, torch.minimum(*errors))
    assert found.sum() <= errors[1].sum()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_the_greedy_choice_alone_beats_plain_rounding_on_every_layer(
    bits: int, symmetric: bool
) -> None:
    for seed in range(6):
        weight, hessian = layer(seed, outputs=32)
        plain = output_error(
            weight, round_to_nearest(weight, bits, None, symmetric).weight, hessian
        )
        for ordered in (False, True):
            made = by_gptq(weight, hessian, bits, None, symmetric, ordered)
            assert output_error(weight, made.weight, hessian) < 0.9 * plain


def test_with_two_bits_the_greedy_choice_can_lose_and_plain_rows_are_kept() -> None:
    # Three steps cover a symmetric range with one number less above zero: the largest weights are
    # cut, all columns behind make up for that, and their own groups are stretched by it.
    weight, hessian = layer(0, inputs=256, outputs=16)
    plain = round_to_nearest(weight, 2, 32, True)
    made = by_gptq(weight, hessian, 2, 32, True, ordered=False)
    errors = [row_errors(weight, each.weight, hessian) for each in (made, plain)]
    assert (errors[0] > errors[1]).any()
    kept = keep_better_rows(made, errors[0], plain, errors[1])
    assert output_error(weight, kept.weight, hessian) < output_error(weight, plain.weight, hessian)


@given(seeds, st.sampled_from([3, 4, 8]), st.sampled_from([None, 32]), st.booleans())
@settings(max_examples=15, deadline=None)
def test_each_column_is_rounded_after_the_errors_before_it_were_made_up_for(
    seed: int, bits: int, group: int | None, symmetric: bool
) -> None:
    # With W − Ŵ = E U, the errors E follow from the result; a column's, times U_ii, is how far its
    # number is from the weight as it was by then: half a step, but at the ends of the grid.
    weight, hessian = layer(seed)
    factor = inverse_factor(hessian, DAMPING)
    made = gptq(weight, factor, bits, group, symmetric)
    errors = torch.linalg.solve_triangular(
        factor.double(), (weight - made.weight).double(), upper=True, left=False
    )
    steps = made.grid.scale.repeat_interleave(64 // made.grid.scale.shape[1], dim=1)
    inside = (made.integers > made.grid.lowest) & (made.integers < made.grid.highest)
    off = (errors * factor.diagonal()).abs() / steps
    assert (off[inside] < 0.5 + 1e-2).all()


@given(seeds, bits, groups, st.booleans(), st.booleans())
@settings(max_examples=20, deadline=None)
def test_with_inputs_that_do_not_depend_on_each_other_it_is_plain_rounding(
    seed: int, bits: int, group: int | None, symmetric: bool, ordered: bool
) -> None:
    weight, hessian = layer(seed)
    made = by_gptq(weight, torch.diag(hessian.diagonal()), bits, group, symmetric, ordered)
    plain = round_to_nearest(weight, bits, group, symmetric)
    assert torch.allclose(made.grid.scale, plain.grid.scale)
    assert (made.integers == plain.integers).float().mean() > 0.999


def test_one_free_column_makes_up_for_the_other_as_least_squares_would() -> None:
    hessian = torch.tensor([[2.0, 1.2], [1.2, 1.0]])
    weight = torch.tensor([[1.0, 0.26]])
    made = gptq(weight, inverse_factor(hessian, 0.0), 8, None, True)
    # ŵ₁ is fixed: the best w₂ solves H₂₂ (w₂ − w) = H₂₁ (w₁ − ŵ₁), and is then rounded.
    first = made.weight[0, 0]
    best = weight[0, 1] + hessian[1, 0] / hessian[1, 1] * (weight[0, 0] - first)
    assert abs(made.weight[0, 1] - best) <= made.grid.scale[0, 0] / 2 + 1e-6


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, hessian = layer(1, inputs=192)
    whole = by_gptq(weight, hessian, 4, 32, True, ordered=False)
    monkeypatch.setattr("labs.compression.quantization.method.BLOCK", 32)
    blocks = by_gptq(weight, hessian, 4, 32, True, ordered=False)
    assert (whole.integers == blocks.integers).float().mean() > 0.999


@pytest.mark.parametrize("ordered", [True, False])
def test_an_input_that_was_always_zero_is_rounded_on_its_own(ordered: bool) -> None:
    weight, hessian = layer(2)
    hessian[5], hessian[:, 5] = 0, 0
    made = by_gptq(weight, hessian, 4, None, True, ordered)
    plain = round_to_nearest(weight, 4, None, True)
    assert torch.equal(made.integers[:, 5], plain.integers[:, 5])
