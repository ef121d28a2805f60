"""GPTQ by GPTQModel, in a process of its own environment: what does the work on a GPU.

The engine rounds; what it gives is put on the same grids as our own (`Rounded`), so that everything
after it, errors by layer, layout of the checkpoint and the exam, is the same code for both.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from labs.compression.quantization import engine_child
from labs.compression.quantization.given import Given
from labs.compression.quantization.grid import Grid, Rounded
from labs.compression.quantization.scheme import Scheme
from labs.contract import Json, LabError

CHILD = Path(engine_child.__file__)
# With fewer, GPTQModel asks its own pool of workers for more than it made, and dies.
FEWEST_WORKERS = 2


def quantize_by_engine(
    python: Path,
    base: Path,
    blocks: Tensor,
    scheme: Scheme,
    dtype: torch.dtype,
    device: str,
    told: Callable[[str], None],
    check: Callable[[], None],
) -> dict[str, Given]:
    """GPTQ of all matrices of a model by GPTQModel.

    Args:
        python: Of the environment that holds the engine.
        base: A model folder.
        blocks: Calibration tokens, [samples, length].
        scheme: Of the method gptq.
        dtype: In which scales will be stored.
        device: "cpu" or "cuda".
        told: Hears the name of each matrix that is done.
        check: Called at each of them; may raise to stop.

    Returns:
        What became of each matrix, by the name of its module.

    Raises:
        LabError: If the engine failed, with its last line.
    """
    with TemporaryDirectory() as folder:
        work = Path(folder)
        save_file({"tokens": blocks.cpu().contiguous()}, work / "blocks.safetensors")
        asked = request_of(base, scheme, device, work)
        (work / "request.json").write_text(json.dumps(asked), encoding="utf-8")
        seconds = {}
        for said in _said([str(python), str(CHILD), str(work / "request.json")], work):
            check()
            seconds[said["matrix"]] = float(said["seconds"])
            told(said["matrix"])
        found = load_file(work / "made.safetensors")
    return {name: Given(_rounded(found, name, scheme, dtype), t) for name, t in seconds.items()}


def request_of(base: Path, scheme: Scheme, device: str, work: Path) -> Json:
    """What the child is told."""
    return {
        "base": str(base.absolute()),
        "blocks": str(work / "blocks.safetensors"),
        "target": str(work / "made.safetensors"),
        "device": "cuda:0" if device == "cuda" else device,
        "method": scheme.method,
        "bits": scheme.bits,
        "group_size": scheme.group_size,
        "symmetric": scheme.symmetric,
        "activation_order": scheme.activation_order,
        "damping": scheme.damping,
    }


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The child's: nothing from a hub, none of our paths, and as many workers as it needs."""
    kept = {name: value for name, value in given.items() if not name.startswith("PYTHON")}
    workers = max(FEWEST_WORKERS, os.cpu_count() or 1)
    offline = {"HF_HUB_OFFLINE": "1", "GPTQMODEL_CPU_WORKERS": str(workers)}
    return {**kept, **offline}


def _said(command: list[str], work: Path) -> Iterator[Json]:
    """The child's lines; it ends with whoever stops listening."""
    log = work / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            cwd=work,  # it keeps logs wherever it stands
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                yield json.loads(line)
            child.wait()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise LabError(
            "GPTQModel failed: {reason}. Set the engine to own: the same method, computed here.",
            parameter="engine",
            reason=(lines[-1] if lines else f"code {child.returncode}")[:300],
        )


def _rounded(found: Mapping[str, Tensor], name: str, scheme: Scheme, dtype: torch.dtype) -> Rounded:
    """The engine's weights ŵ = s · (q − z), with q from 0, as signed integers on our grid."""
    weight, scale = found[f"{name}.weight"], found[f"{name}.scale"]
    half = 1 << (scheme.bits - 1)
    columns = scale.repeat_interleave(weight.shape[1] // scale.shape[1], dim=1)
    integers = (weight / columns).round()
    zero = None
    if not scheme.symmetric:
        zero = found[f"{name}.zero"].expand_as(scale).round() - half
        integers += zero.repeat_interleave(weight.shape[1] // scale.shape[1], dim=1)
    signed = integers.clamp(-half, half - 1).to(torch.int8)
    return Rounded(signed, Grid(scheme.bits, scale.to(dtype).float(), zero))
