"""Quantized models as checkpoints that plain transformers loads, and vLLM.

The two layouts of compressed-tensors (its 0.19; `quantization_config` of the method
"compressed-tensors"), for a matrix of [out, in] with one scale for each of [out, groups]:

- pack-quantized, 2 to 8 bits: `weight_packed` int32 [out, ⌈in · b / 32⌉], integers shifted by 2^(b−1)
  and laid one behind the other, the lowest bits first, across the borders of words where b does not
  divide 32; `weight_scale` [out, groups]; `weight_zero_point` int32 [⌈out · b / 32⌉, groups], packed
  down the rows, where the grid is not symmetric; `weight_shape` int64 [2].
- int-quantized, 8 bits: `weight` int8 [out, in] and `weight_scale` [out, 1]; whoever loads it rounds
  the inputs of each token.

Groups are neighbouring columns whatever order GPTQ took, so no `weight_g_idx` is needed; the format
has dropped it. Of vLLM's kernels, that for CPUs takes 4 bits, those for GPUs 4 and 8; the other widths
are for transformers. NF4 and LLM.int8 are written by bitsandbytes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from compressed_tensors import __version__ as format_version  # type: ignore[import-untyped]
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32  # type: ignore[import-untyped]
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from labs.common.loading import load_model
from labs.compression.quantization.grid import Rounded
from labs.compression.quantization.quantize import QuantizedModel
from labs.compression.quantization.scheme import Scheme
from labs.contract import Json


def save_quantized(
    quantized: QuantizedModel, tokenizer: PreTrainedTokenizerBase, base: Path, folder: Path
) -> None:
    """Write the checkpoint, with tokenizer and the base's generation config.

    Args:
        quantized: What `quantize_model` made.
        tokenizer: Of the base.
        base: The model's folder before it was quantized.
        folder: To fill.
    """
    if quantized.scheme.stored == "bitsandbytes":
        _save_by_bitsandbytes(quantized, base, folder)
    else:
        _save_compressed(quantized, folder)
    tokenizer.save_pretrained(folder)
    published = base / "generation_config.json"
    if published.is_file():
        shutil.copyfile(published, folder / "generation_config.json")


def _save_by_bitsandbytes(quantized: QuantizedModel, base: Path, folder: Path) -> None:
    scheme = quantized.scheme
    loaded = load_model(
        base, quantized.device, quantized.dtype, scheme.method, scheme.double_quantization
    )
    loaded.save_pretrained(folder)


def _save_compressed(quantized: QuantizedModel, folder: Path) -> None:
    model, dtype = quantized.model, quantized.dtype
    state = _in_format(model.state_dict(), dtype)
    for name, rounded in quantized.matrices.items():
        del state[f"{name}.weight"]
        for part, tensor in _parts(rounded, quantized.scheme, dtype).items():
            state[f"{name}.{part}"] = tensor
    model.save_pretrained(folder, state_dict=state)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    config["quantization_config"] = quantization_config(quantized)
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _in_format(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Numbers in the format; names that share a tensor still do, so that it is saved once."""
    made: dict[int, Tensor] = {}
    for tensor in state.values():
        if tensor.data_ptr() not in made:
            made[tensor.data_ptr()] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return {name: made[tensor.data_ptr()] for name, tensor in state.items()}


def _parts(rounded: Rounded, scheme: Scheme, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of one matrix, by their names in the layout."""
    scale = rounded.grid.scale.to(dtype)
    if scheme.stored == "int-quantized":
        return {"weight": rounded.integers, "weight_scale": scale}
    parts = {
        "weight_packed": pack_to_int32(rounded.integers, scheme.bits).contiguous(),
        "weight_scale": scale,
        "weight_shape": torch.tensor(rounded.integers.shape),
    }
    if rounded.grid.zero is not None:
        zero = rounded.grid.zero.to(torch.int8)
        parts["weight_zero_point"] = pack_to_int32(zero, scheme.bits, packed_dim=0).contiguous()
    return parts


def quantization_config(quantized: QuantizedModel) -> Json:
    """What `config.json` says of the layout; modules without quantized weights are named."""
    scheme = quantized.scheme
    return {
        "quant_method": "compressed-tensors",
        "version": format_version,
        "format": scheme.stored,
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": _weights(scheme),
                "input_activations": _input_activations(scheme),
                "output_activations": None,
                "format": scheme.stored,
            }
        },
        "ignore": _whole_modules(quantized),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def _weights(scheme: Scheme) -> Json:
    grouped = scheme.stored == "pack-quantized" and scheme.group_size
    return {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": scheme.symmetric,
        "strategy": "group" if grouped else "channel",
        "group_size": scheme.group_size if grouped else None,
        "dynamic": False,
        "actorder": "weight" if scheme.method == "gptq" and scheme.activation_order else None,
    }


def _input_activations(scheme: Scheme) -> Json | None:
    if not scheme.quantizes_activations:
        return None
    return {
        "num_bits": 8,
        "type": "int",
        "symmetric": True,
        "strategy": "token",
        "dynamic": True,
    }


def _whole_modules(quantized: QuantizedModel) -> list[str]:
    """Linear maps outside the layers, such as the output head."""
    return [
        name
        for name, module in quantized.model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in quantized.matrices
    ]
