"""What must hold of AdamW, the method of full fine-tuning."""

import pytest
import torch
from torch import Tensor, nn

from labs.peft.full import method
from labs.peft.full.method import Moments, adamw_step

RATE = 0.01


def fresh(weight: Tensor) -> Moments:
    return Moments(torch.zeros_like(weight), torch.zeros_like(weight))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_is_the_optimizer_that_torch_has(decay: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3)
    parameter = nn.Parameter(weight.clone())
    optimizer = torch.optim.AdamW([parameter], lr=RATE, weight_decay=decay)
    moments = fresh(weight)
    for step in range(1, 6):
        gradient = torch.randn(4, 3)
        parameter.grad = gradient
        optimizer.step()
        weight, moments = adamw_step(weight, gradient, moments, step, RATE, decay)
    torch.testing.assert_close(weight, parameter.detach())


def test_the_first_step_has_the_size_of_the_rate_whatever_the_gradient() -> None:
    gradient = torch.tensor([1e-3, -1.0, 500.0])
    moved, _ = adamw_step(torch.zeros(3), gradient, fresh(gradient), 1, RATE)
    torch.testing.assert_close(moved, -RATE * gradient.sign(), rtol=1e-4, atol=0)


def test_decay_pulls_a_weight_that_has_no_gradient() -> None:
    weight = torch.ones(3)
    moved, _ = adamw_step(weight, torch.zeros(3), fresh(weight), 1, RATE, decay=0.5)
    torch.testing.assert_close(moved, torch.full((3,), 1 - RATE * 0.5))


def test_a_small_step_is_lost_in_sixteen_bits() -> None:
    weight, gradient = torch.ones(2), torch.full((2,), 3.0)
    moved, _ = adamw_step(weight, gradient, fresh(weight), 1, rate=1e-4)
    assert (moved < weight).all()
    assert torch.equal(moved.bfloat16(), weight.bfloat16())


def test_training_everything_keeps_sixteen_bytes_for_each_weight() -> None:
    assert method.state_bytes(2_887_936, trained=2_887_936) == 16 * 2_887_936 == 46_206_976
    assert method.state_bytes(2_887_936 + 131_072, trained=131_072) == 13_648_896
