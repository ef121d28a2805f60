"""Whether GPTQModel does the work of a run, and having it done."""

from pathlib import Path

import torch
from torch import Tensor

from labs.compression.quantization.engine import quantize_by_engine
from labs.compression.quantization.given import Given
from labs.compression.quantization.spec import QuantizationParams
from labs.contract import LabContext, LabError
from labs.models import read_facts
from labs.runspec import read_params


def by_engine(
    params: QuantizationParams, run: LabContext, blocks: Tensor, dtype: torch.dtype
) -> dict[str, Given] | None:
    """What GPTQModel makes of the matrices; None where the lab's own code is to do it.

    Raises:
        LabError: If GPTQModel was asked for and is not set up here, or failed.
    """
    wanted = params.engine == "gptqmodel" or (params.engine == "auto" and run.device == "cuda")
    if not wanted or params.method != "gptq":
        return None
    python = read_params(run.run_dir).engines.get("compress")
    if python is None and params.engine == "auto":
        return None
    if python is None:
        raise LabError(
            "GPTQModel is not set up on this machine: `bunsen doctor --install compress` does it. Or set the engine to own.",
            parameter="engine",
        )
    total = sum(matrix.count for matrix in read_facts(run.base_model).matrices.values())
    done: list[str] = []

    def told(name: str) -> None:
        done.append(name)
        run.progress(len(done), total, f"GPTQModel: {name}")

    run.progress(0, total, "GPTQModel is starting")
    return quantize_by_engine(
        Path(python), run.base_model, blocks, params.scheme, dtype, run.device, told, run.check_stop
    )
