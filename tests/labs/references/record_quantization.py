"""Records what other implementations make of the same layers, for tests/labs/test_quantization_reference.py.

Run it with an interpreter that has gptqmodel and llmcompressor, from the root of the repository:

    GPTQMODEL_CPU_WORKERS=2 python tests/labs/references/record_quantization.py

It writes gptq.safetensors and awq.json beside itself, with the versions that made them.
"""

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

# On machines of one or two cores gptqmodel asks its pool of workers for more than it made.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import torch
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent
STUDENT = Path("labs/bundled/models/student")
INPUTS, OUTPUTS, TOKENS = 256, 24, 384
# Bits, group size (-1 for a row), symmetric, with activation order.
GPTQ_CASES = [
    (4, -1, True, False),
    (3, -1, False, True),
    (4, 128, True, False),
    (4, 128, False, True),
    (2, 64, False, True),
    (8, 32, True, True),
    (4, 32, True, False),
]
AWQ_CASES = [(4, 64, True), (4, 64, False), (3, 64, False), (2, 32, False)]


def layer() -> tuple[Tensor, Tensor]:
    """Weights [out, in] and tokens [tokens, in] that depend on each other; multiples of 1/64.

    One input is always zero. gptqmodel sets the weights of such an input to zero, ours only rounds
    them, so they are zero from the start.
    """
    dice = torch.Generator().manual_seed(0)
    mixed = torch.randn(TOKENS, INPUTS, generator=dice) @ torch.randn(
        INPUTS, INPUTS, generator=dice
    )
    tokens = mixed / INPUTS**0.5 * torch.rand(INPUTS, generator=dice)
    tokens[:, 7] = 0
    weight = torch.randn(OUTPUTS, INPUTS, generator=dice) * 0.4
    weight[:, 7] = 0
    return _coarse(weight), _coarse(tokens)


def _coarse(numbers: Tensor) -> Tensor:
    return (numbers * 64).round().clamp(-127, 127) / 64


def gptq(weight: Tensor, tokens: Tensor, case: tuple[int, int, bool, bool]) -> dict[str, Tensor]:
    """What gptqmodel makes of a layer: whole numbers around zero, and scales."""
    from gptqmodel import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    bits, group_size, symmetric, ordered = case
    config = QuantizeConfig(
        bits=bits,
        group_size=group_size,
        sym=symmetric,
        desc_act=ordered,
        act_group_aware=False,
        static_groups=ordered,
        damp_percent=0.01,
    )
    linear = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
    linear.weight.data.copy_(weight)
    task = GPTQ(linear, config)
    task.quantizer.configure(perchannel=True)
    task.add_batch(tokens.unsqueeze(0), linear(tokens).unsqueeze(0))
    made: Any = task.quantize()
    weights, scale = made[0], made[1].contiguous()
    columns = scale.repeat_interleave(INPUTS // scale.shape[1], dim=1)
    # Around zero: q − z fits a byte in every case.
    return {"integers": (weights / columns).round().to(torch.int8), "scale": scale}


def record_gptq() -> None:
    """Weights and tokens as whole numbers of 1/64, and what came out of every case."""
    weight, tokens = layer()
    tensors = {
        "weight": (weight * 64).to(torch.int8),
        "tokens": (tokens * 64).to(torch.int8),
    }
    for case in GPTQ_CASES:
        name = "_".join(str(int(part)) for part in case)
        for part, tensor in gptq(weight, tokens, case).items():
            tensors[f"{name}.{part}"] = tensor
    versions = {package: importlib.metadata.version(package) for package in ("gptqmodel", "torch")}
    save_file(tensors, HERE / "gptq.safetensors", metadata=versions)


def calibration() -> Tensor:
    """Tokens for the student: [blocks, tokens]. Any do, as long as both sides read the same."""
    from transformers import AutoTokenizer

    rows = Path("labs/bundled/datasets/campus").glob("*.jsonl")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(rows))
    ids = AutoTokenizer.from_pretrained(STUDENT)(text[:60_000]).input_ids
    return torch.tensor(ids[: 24 * 64]).view(24, 64)


def awq(blocks: Tensor, bits: int, group_size: int, symmetric: bool) -> Any:
    """The student as llmcompressor's AWQ leaves it."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.pipelines.cache import IntermediatesCache
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Without a GPU there is no memory to pin.
    IntermediatesCache._pin_intermediate = staticmethod(lambda *args, **kwargs: None)
    arguments = QuantizationArgs(
        num_bits=bits, group_size=group_size, symmetric=symmetric, strategy="group"
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    rows = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in blocks]
    model = AutoModelForCausalLM.from_pretrained(STUDENT)
    oneshot(
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(STUDENT),
        dataset=Dataset.from_list(rows),
        recipe=[
            AWQModifier(),
            QuantizationModifier(config_groups={"group_0": scheme}, ignore=["lm_head"]),
        ],
        max_seq_length=blocks.shape[1],
        num_calibration_samples=len(blocks),
    )
    return model


@torch.no_grad()
def record_awq() -> None:
    """How far the student's logits are from those of the whole model, on the calibration tokens."""
    from transformers import AutoModelForCausalLM

    blocks = calibration()
    whole = AutoModelForCausalLM.from_pretrained(STUDENT)(blocks).logits
    found = []
    for bits, group_size, symmetric in AWQ_CASES:
        logits = awq(blocks, bits, group_size, symmetric)(blocks).logits
        error = float((logits - whole).square().sum() / whole.square().sum())
        case = {"bits": bits, "group_size": group_size, "symmetric": symmetric}
        found.append({**case, "logits_error": error})
    packages = ("llmcompressor", "compressed-tensors", "transformers", "torch")
    versions = {package: importlib.metadata.version(package) for package in packages}
    stored = {"versions": versions, "cases": found, "blocks": blocks.tolist()}
    (HERE / "awq.json").write_text(json.dumps(stored) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record_gptq()
    record_awq()
