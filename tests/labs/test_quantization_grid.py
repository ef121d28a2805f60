"""Laws of the integer grids, for any weights."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labs.compression.quantization.activations import round_but_outliers, round_tokens
from labs.compression.quantization.errors import output_error, weight_error
from labs.compression.quantization.grid import (
    fit_grid,
    from_integers,
    round_to_nearest,
    to_integers,
)

bits = st.sampled_from([2, 3, 4, 8])
groups = st.sampled_from([None, 32, 64])
seeds = st.integers(0, 1 << 30)


def drawn(seed: int) -> Tensor:
    """Weights of any size and any centre, a row of zeros and one of equal numbers among them."""
    dice = torch.Generator().manual_seed(seed)
    weight = torch.randn(8, 128, generator=dice) + torch.randn(8, 1, generator=dice)
    weight *= 10 ** torch.empty(8, 1).uniform_(-4, 3, generator=dice)
    weight[2], weight[3] = 0, 0.3
    return weight


@given(seeds, bits, groups, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_weight_moves_by_half_a_step_at_most(
    seed: int, bits: int, group: int | None, symmetric: bool
) -> None:
    weight = drawn(seed)
    grid = fit_grid(weight, bits, group, symmetric)
    moved = (from_integers(to_integers(weight, grid), grid) - weight).abs()
    steps = grid.scale.repeat_interleave(128 // grid.scale.shape[1], dim=1)
    # A symmetric grid has one number less above zero than below: its largest weight loses half a
    # step there. An asymmetric one may be shifted by half a step when its zero point is rounded.
    assert (moved <= 0.5001 * steps * (1 if symmetric else 2)).all()


@given(seeds, bits, groups, st.booleans())
@settings(max_examples=60, deadline=None)
def test_rounding_twice_changes_nothing(
    seed: int, bits: int, group: int | None, symmetric: bool
) -> None:
    made = round_to_nearest(drawn(seed), bits, group, symmetric)
    assert torch.equal(to_integers(made.weight, made.grid), made.integers)


@given(seeds, bits, groups, st.booleans())
@settings(max_examples=30, deadline=None)
def test_zero_stays_zero(seed: int, bits: int, group: int | None, symmetric: bool) -> None:
    weight = drawn(seed)
    grid = fit_grid(weight, bits, group, symmetric)
    assert not from_integers(to_integers(torch.zeros_like(weight), grid), grid).any()


@given(seeds, groups, st.booleans())
@settings(max_examples=30, deadline=None)
def test_scales_are_what_the_checkpoint_stores(
    seed: int, group: int | None, symmetric: bool
) -> None:
    scale = fit_grid(drawn(seed), 4, group, symmetric, torch.bfloat16).scale
    assert torch.equal(scale, scale.bfloat16().float())


def test_more_bits_and_smaller_groups_lose_less() -> None:
    weight, hessian = (
        torch.randn(32, 128, generator=torch.Generator().manual_seed(0)),
        torch.eye(128),
    )
    by_bits = [
        weight_error(weight, round_to_nearest(weight, b, 32, True).weight) for b in (2, 3, 4, 8)
    ]
    by_group = [
        weight_error(weight, round_to_nearest(weight, 4, g, True).weight) for g in (None, 64, 32)
    ]
    assert by_bits == sorted(by_bits, reverse=True)
    assert by_group == sorted(by_group, reverse=True)
    # Eight bits are nearly all there is.
    assert by_bits[-1] < 1e-4
    # With inputs that do not depend on each other, the output's error is that of the weights.
    made = round_to_nearest(weight, 3, None, True).weight
    assert abs(output_error(weight, made, hessian) - weight_error(weight, made)) < 1e-6


def test_a_zero_point_pays_where_weights_lie_on_one_side() -> None:
    weight = torch.rand(8, 64, generator=torch.Generator().manual_seed(0)) + 0.1
    symmetric, shifted = (
        weight_error(weight, round_to_nearest(weight, 4, None, how).weight) for how in (True, False)
    )
    assert shifted < symmetric / 2


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_inputs_move_by_half_a_step_at_most(seed: int) -> None:
    tokens = drawn(seed)
    moved = (round_tokens(tokens) - tokens).abs()
    assert (moved <= 0.5001 * tokens.abs().amax(1, keepdim=True) / 127.5).all()


def test_outliers_are_left_as_they_are() -> None:
    tokens = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    tokens[4, 9] = 50
    rounded = round_but_outliers(tokens)
    assert torch.equal(rounded[:, 9], tokens[:, 9])
    # One outlier in one token would otherwise cost all the other inputs of that token.
    assert (rounded - tokens).abs()[4].max() * 5 < (round_tokens(tokens) - tokens).abs()[4].max()
