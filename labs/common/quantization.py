"""bitsandbytes, out of sight until a run asks for it.

Importing it looks at every CUDA device. In the process that trainers are forked from,
that would initialise CUDA, and no child could use it afterwards; peft imports it on its
own when it finds it. So it is hidden before peft is imported and shown where it is used.
"""

import importlib
import importlib.metadata
import logging
import sys
from typing import Any

from labs.contract import LabError


def hide_bitsandbytes() -> None:
    """Make bitsandbytes look absent. Call before peft and transformers are imported."""
    if "bitsandbytes" not in sys.modules:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # what find_spec takes for absent


def has_bitsandbytes() -> bool:
    """Whether the package is installed, hidden or not. Imports nothing of it."""
    try:
        importlib.metadata.distribution("bitsandbytes")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def show_bitsandbytes() -> None:
    """Undo `hide_bitsandbytes` and import it; raises `LabError` where that fails."""
    if sys.modules.get("bitsandbytes", ...) is None:
        del sys.modules["bitsandbytes"]
    _forget("peft.import_utils", "is_bnb_available", "is_bnb_4bit_available")
    _forget("transformers.utils.import_utils", "is_bitsandbytes_available")
    try:
        importlib.import_module("bitsandbytes")
    except (ImportError, OSError, RuntimeError) as error:
        raise LabError(
            "Base quantization needs the package bitsandbytes, which does not load on this machine: {reason}. Choose base quantization “none”.",
            reason=error,
        ) from error
    # LLM.int8 says at every call of every matrix that it computes in 16 bits.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def _forget(module: str, *functions: str) -> None:
    """Clear the memory of functions that looked for a package once."""
    loaded: Any = importlib.import_module(module)
    for name in functions:
        getattr(loaded, name).cache_clear()
