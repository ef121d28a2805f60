"""GPTQModel at work, under the Python of its own environment. Imports nothing of ours.

    python engine_child.py request.json

Standard output gets one JSON object a line, which tells how far it is; what GPTQModel prints there
goes to standard error, since its bars would end up in the middle of our lines. What became of the matrices
is written to `target`: for each by its name the rounded weights, scales and zero points.
"""

import json
import os
import sys
import threading
import time
from typing import Any


def main(path: str) -> None:
    """Quantize as the request says: base, blocks, target, device and the scheme's numbers."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        asked = json.load(file)
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig  # type: ignore[import-not-found]
    from gptqmodel.quantization.gptq import GPTQ  # type: ignore[import-not-found]
    from safetensors.torch import load_file, save_file

    config = QuantizeConfig(**config_of(asked))
    model = GPTQModel.load(asked["base"], config, trust_remote_code=False)
    found: dict[str, Any] = {}
    GPTQ.quantize = watched(GPTQ.quantize, found)
    rows = load_file(asked["blocks"])["tokens"]
    examples = [{"input_ids": row, "attention_mask": row * 0 + 1} for row in rows.unsqueeze(1)]
    backend = getattr(BACKEND, backend_of(asked))
    model.quantize(examples, batch_size=1, backend=backend, calibration_data_min_length=1)
    save_file(found, asked["target"])


def config_of(asked: dict[str, Any]) -> dict[str, Any]:
    """Arguments of GPTQModel's QuantizeConfig for a request.

    Groups are fitted before the order of activations is taken, so that no index of groups is needed.
    """
    return {
        "bits": asked["bits"],
        "group_size": asked["group_size"] or -1,
        "sym": asked["symmetric"],
        "desc_act": asked["activation_order"],
        "static_groups": asked["activation_order"],
        "act_group_aware": False,
        "damp_percent": asked["damping"],
        "device": asked["device"],
        "offload_to_disk": False,
    }


def backend_of(asked: dict[str, Any]) -> str:
    """The kernels by their name in GPTQModel; AWQ's usual ones need CUDA and do not say so before."""
    if asked["method"] == "awq" and asked["device"] == "cpu":
        return "AWQ_TORCH"
    return "AUTO"


def watched(quantize: Any, found: dict[str, Any]) -> Any:
    """GPTQ of one matrix; what it gives is kept, and told."""

    def keeping(task: Any, *args: Any, **more: Any) -> Any:
        started = time.perf_counter()
        made = quantize(task, *args, **more)
        name = task._named_module.full_name
        for part, tensor in zip(("weight", "scale", "zero"), made[:3], strict=True):
            found[f"{name}.{part}"] = tensor.detach().float().cpu().contiguous()
        tell(matrix=name, seconds=time.perf_counter() - started)
        return made

    return keeping


def tell(**said: Any) -> None:
    """One line; matrices are done by several threads."""
    with TALKING:
        os.write(TOLD, (json.dumps(said) + "\n").encode())


TALKING, TOLD = threading.Lock(), 1

if __name__ == "__main__":
    TOLD = os.dup(1)
    os.dup2(2, 1)
    main(sys.argv[1])
