"""GPTQ and Wanda of single layers: ours and the reference engines' in turn, in one process.

Run by `benchmarks/compression.py` with the Python of the engines' environment; prints one line of JSON.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
TOLD = os.dup(1)
os.dup2(2, 1)  # the engines talk on standard output

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

BITS, GROUP, DAMPING, SPARSITY = 4, 128, 0.01, 0.5
BLOCKS = 32
Arm = Callable[[Tensor, Sequence[Tensor]], Tensor]


def our_gptq(weight: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    from labs.compression.common.layerwise import Matrix
    from labs.compression.quantization.inputs import Inputs
    from labs.compression.quantization.method import gptq

    gathered = Inputs(Matrix("m", _linear(weight)))
    for block in blocks:
        gathered.add(block)
    factor = gathered.factor(DAMPING, ordered=True)
    return gptq(weight, factor, BITS, GROUP, True, gathered.order()).weight


def gptqmodels(weight: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    from gptqmodel import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    config = QuantizeConfig(
        bits=BITS,
        group_size=GROUP,
        sym=True,
        desc_act=True,
        act_group_aware=False,
        static_groups=True,
        damp_percent=DAMPING,
    )
    linear = _linear(weight)
    task = GPTQ(linear, config)
    task.quantizer.configure(perchannel=True)
    for block in blocks:
        task.add_batch(block.unsqueeze(0), linear.weight.new_zeros(1, 1, 1))
    made: Any = task.quantize()
    return made[0].float()


def our_wanda(weight: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    from labs.compression.common.layerwise import Matrix
    from labs.compression.common.observers import Norms
    from labs.compression.pruning.method import choose, wanda_scores

    gathered = Norms(Matrix("m", _linear(weight)))
    for block in blocks:
        gathered.add(block)
    zeroed = choose(wanda_scores(weight, gathered.norms), SPARSITY)
    return weight.masked_fill(zeroed, 0.0)


def llmcompressors(weight: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    from llmcompressor.modifiers.pruning.wanda.wanda_sparsify import (
        accumulate_row_scalars,
        make_empty_row_scalars,
        sparsify_weight,
    )

    linear = _linear(weight)
    scalars, seen = make_empty_row_scalars(linear), 0
    for block in blocks:
        scalars, seen = accumulate_row_scalars(block, linear, scalars, seen)
    return sparsify_weight(linear, {linear: scalars}, SPARSITY, 0, 0)


ARMS: dict[str, tuple[Arm, Arm]] = {
    "gptq": (our_gptq, gptqmodels),
    "wanda": (our_wanda, llmcompressors),
}


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=weight.device)
    linear.weight.data = weight.clone()
    return linear


def timed(arm: Arm, weight: Tensor, blocks: Sequence[Tensor]) -> tuple[float, Tensor]:
    with torch.no_grad():
        _wait(weight)
        started = time.perf_counter()
        made = arm(weight, blocks)
        _wait(weight)
    return time.perf_counter() - started, made


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def compared(method: str, shape: tuple[int, int], tokens: int, rounds: int, device: str) -> Any:
    """Seconds of both arms, round by round, and the relative error of the output that each leaves."""
    dice = torch.Generator().manual_seed(0)
    outputs, inputs = shape
    mixed = torch.randn(inputs, inputs, generator=dice) / inputs**0.5
    text = torch.randn(tokens, inputs, generator=dice) @ mixed * torch.rand(inputs, generator=dice)
    weight = (torch.randn(outputs, inputs, generator=dice) * 0.05).to(device)
    blocks = [block.to(device) for block in text.chunk(BLOCKS)]
    ours, theirs = ARMS[method]
    pairs, errors = [], [0.0, 0.0]
    for _ in range(rounds + 1):  # the first one warms up
        made = [timed(arm, weight, blocks) for arm in (ours, theirs)]
        pairs.append([seconds for seconds, _ in made])
        lost = [((weight - each) @ blocks[0].t()).norm() for _, each in made]
        errors = [float(each / (weight @ blocks[0].t()).norm()) for each in lost]
    return {
        "method": method,
        "shape": shape,
        "tokens": tokens,
        "pairs": pairs[1:],
        "errors": errors,
    }


def main(asked: Any) -> None:
    torch.set_num_threads(asked["threads"])
    for method, shape, tokens in asked["cases"]:
        found = compared(method, tuple(shape), tokens, asked["rounds"], asked["device"])
        os.write(TOLD, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
