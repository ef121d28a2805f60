"""Rows of float32 into the blocks of GGUF, by llama.cpp's own code.

The shared object of xllamacpp exports ggml's `ggml_quantize_chunk`; gguf's Python part knows how
Q8_0 and Q4_0 are packed but not the K-quants.
"""

import ctypes
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labs.contract import LabError
from labs.gguf.kinds import row_bytes

# `enum ggml_type`.
NUMBERS = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q5_0": 6,
    "Q5_1": 7,
    "Q8_0": 8,
    "Q4_K": 12,
    "Q5_K": 13,
    "Q6_K": 14,
}
LARGEST_F16 = 65504.0
WORTH_A_THREAD = 1 << 18


def packed(rows: NDArray[np.float32], stored: str, tensor: str) -> NDArray[np.uint8]:
    """Bytes of a matrix's rows.

    Args:
        rows: (rows, numbers of a row), float32, contiguous.
        stored: One of `kinds.BLOCKS`.
        tensor: Its name, for the error.

    Raises:
        LabError: If a number is not finite or too large for float16, or llama.cpp is not here.
    """
    largest = float(np.abs(rows).max(initial=0.0))
    if not np.isfinite(largest) or (stored == "F16" and largest > LARGEST_F16):
        raise LabError(
            "The tensor {tensor} holds {value}, which {stored} cannot store.",
            tensor=tensor,
            value=largest,
            stored=stored,
        )
    if stored in ("F32", "F16"):
        dtype = np.float32 if stored == "F32" else np.float16
        return np.ascontiguousarray(rows, dtype=dtype).view(np.uint8).reshape(-1)
    return _quantized(np.ascontiguousarray(rows, dtype=np.float32), NUMBERS[stored], stored)


def _quantized(rows: NDArray[np.float32], number: int, stored: str) -> NDArray[np.uint8]:
    """ggml quantizes row by row, so threads may share a matrix by its rows."""
    count, length = rows.shape
    target = np.empty(count * row_bytes(stored, length), dtype=np.uint8)
    threads = max(1, min(torch.get_num_threads(), rows.size // WORTH_A_THREAD))
    cuts = [count * i // threads for i in range(threads + 1)]

    def quantize(start: int, end: int) -> int:
        written: int = ggml().ggml_quantize_chunk(
            *(number, rows.ctypes.data, target.ctypes.data),
            *(start * length, end - start, length, None),
        )
        return written

    with ThreadPoolExecutor(threads) as pool:
        written = sum(pool.map(quantize, cuts[:-1], cuts[1:]))
    assert written == target.nbytes
    return target


@lru_cache(maxsize=1)
def ggml() -> ctypes.CDLL:
    """The functions of ggml; raises `LabError` where xllamacpp is not installed."""
    spec = importlib.util.find_spec("xllamacpp")
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    files = [path for folder in folders for path in folder.glob("xllamacpp*.so")]
    if not files:
        raise LabError(
            "llama.cpp (xllamacpp) is not installed on this machine; only f16 can be written without it."
        )
    library = ctypes.CDLL(str(files[0]))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
    ]
    return library
