"""What zeros save of time: one matrix times the same inputs, dense, with zeros, and in sparse kernels."""

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

from labs.common.memory import synchronize
from labs.compression.common.layerwise import decoder_layers, matrices_of
from labs.compression.pruning.bench import Bench
from labs.compression.pruning.method import choose, magnitude_scores
from labs.contract import N_, Column, Json

REPEATS = 40
WARMUP = 3
TOKENS = 512
# Sparse tensor cores came with NVIDIA's generation Ampere.
SPARSE_CORES = (8, 0)
# Sums of float16 products, in another order.
TOLERANCE = 2e-2

Product = Callable[[], Tensor]
NO_SPARSE_CORES = N_(
    "Not measured: this needs an NVIDIA GPU with sparse tensor cores (8.0 or later)."
)
NOT_SERVED = N_("Not measured: the sparse kernels do not take a matrix of this shape.")


def show_time(bench: Bench, pruned: Path) -> Json:
    """Median time of a layer's largest matrix, times the same tokens, in each form."""
    before, after = _largest(bench, bench.run.base_model), _largest(bench, pruned)
    torch.manual_seed(bench.run.seed)
    inputs = torch.randn(TOKENS, before.shape[1], dtype=before.dtype, device=before.device)
    forms: dict[str, Product] = {
        N_("Dense"): lambda: inputs @ before.t(),
        N_("With zeros, stored dense"): lambda: inputs @ after.t(),
        N_("Compressed sparse rows"): compressed_rows(after, inputs),
    }
    sparse = semi_structured(before, inputs)
    if not isinstance(sparse, str):
        forms |= sparse
    found = interleaved(forms, bench.run.device, bench.run.check_stop)
    _show(bench, before, found, sparse if isinstance(sparse, str) else "")
    dense, zeros, *_ = (median(times) for times in found.values())
    return {"dense_seconds": dense, "zeros_seconds": zeros}


def interleaved(
    forms: Mapping[str, Product], device: str, check: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each, taken in turn, so that whatever else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    with torch.inference_mode():
        for i in range(WARMUP + REPEATS):
            check()
            for name, product in forms.items():
                synchronize(device)
                started = time.perf_counter()
                product()
                synchronize(device)
                if i >= WARMUP:
                    times[name].append(time.perf_counter() - started)
    return times


def compressed_rows(weight: Tensor, inputs: Tensor) -> Product:
    """The product by PyTorch's sparse kernels for compressed rows, (out, tokens)."""
    with warnings.catch_warnings():
        # PyTorch calls these formats a beta at their first use.
        warnings.simplefilter("ignore", UserWarning)
        sparse = weight.float().to_sparse_csr()
    columns = inputs.float().t().contiguous()
    return lambda: sparse @ columns


def semi_structured(weight: Tensor, inputs: Tensor) -> dict[str, Product] | str:
    """2:4 in float16 by sparse tensor cores beside the same numbers dense, or why there is none.

    The pattern is put on by magnitude, whatever the run's: time does not depend on which weights
    are zero.
    """
    if weight.device.type != "cuda" or torch.cuda.get_device_capability() < SPARSE_CORES:
        return NO_SPARSE_CORES
    if weight.shape[1] % 4:
        return NOT_SERVED
    masked = weight.masked_fill(choose(magnitude_scores(weight), 0.5, group=4), 0.0).half()
    rows = inputs.half()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            packed = torch.sparse.to_sparse_semi_structured(masked)
            found = torch.nn.functional.linear(rows, packed)
    except (RuntimeError, ValueError, NotImplementedError):
        return NOT_SERVED
    dense = torch.nn.functional.linear(rows, masked)
    largest = float(dense.abs().max())
    assert float((found - dense).abs().max()) <= TOLERANCE * largest, "2:4 kernels err"
    return {
        N_("Dense, float16"): lambda: torch.nn.functional.linear(rows, masked),
        N_("2:4 in sparse tensor cores, float16"): lambda: torch.nn.functional.linear(rows, packed),
    }


def _largest(bench: Bench, folder: Path) -> Tensor:
    """The largest matrix of the first layer, [out, in]."""
    found = matrices_of(decoder_layers(bench.load(folder))[0])
    return max(found.values(), key=lambda matrix: matrix.weight.numel()).weight.contiguous()


def _show(bench: Bench, weight: Tensor, found: Mapping[str, list[float]], missing: str) -> None:
    columns = [
        Column("how", "Multiplied"),
        Column("shape", "Outputs × inputs"),
        Column("tokens", "Inputs", "tokens"),
        Column("median", "p50", "s"),
        Column("low", "p25", "s"),
        Column("high", "p75", "s"),
        Column("note", "Note"),
    ]
    shape = f"{weight.shape[0]} × {weight.shape[1]}"
    rows: list[list[Any]] = []
    for name, times in found.items():
        low, middle, high = quantiles(times, n=4)
        rows.append([name, shape, TOKENS, middle, low, high, ""])
    if missing:
        name = N_("2:4 in sparse tensor cores, float16")
        rows.append([name, shape, TOKENS, None, None, None, missing])
    bench.run.table("time", "The time of one matrix, the same inputs in turn", columns, rows)
