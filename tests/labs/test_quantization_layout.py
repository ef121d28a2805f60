"""Checkpoints: what is loaded computes what was computed before it was saved, in as many bytes as foretold."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from labs.common.loading import load_model, load_tokenizer
from labs.common.quantization import show_bitsandbytes
from labs.compression.quantization.layers import MatrixReport
from labs.compression.quantization.layout import save_quantized
from labs.compression.quantization.quantize import QuantizedModel, quantize_model
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.sizes import expected_bytes
from labs.contract import Stopped
from labs.models import read_facts
from tests.labs.families import make_family

BLOCKS = torch.arange(96).view(4, 24)
# Every method with every number of bits it has; group sizes and zero points are spread over them.
SCHEMES = [
    Scheme("rtn", 2, 32, symmetric=False),
    Scheme("rtn", 3, None),
    Scheme("rtn", 4, 64, symmetric=False),
    Scheme("rtn", 8, 32),
    Scheme("gptq", 2, 64, symmetric=False),
    Scheme("gptq", 3, 32, symmetric=False),
    Scheme("gptq", 4, 32, activation_order=False),
    Scheme("gptq", 8, None, symmetric=False),
    Scheme("awq", 2, None),
    Scheme("awq", 3, 64),
    Scheme("awq", 4, 32, symmetric=False),
    Scheme("awq", 8, 32, clipping=False),
    Scheme("smoothquant", 8, None),
    Scheme("nf4", 4),
    Scheme("nf4", 4, double_quantization=True),
    Scheme("int8", 8),
]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(request.param, tmp_path_factory.mktemp("families") / request.param)


def quantize(base: Path, scheme: Scheme, dtype: torch.dtype = torch.float32) -> QuantizedModel:
    return quantize_model(load_model(base, "cpu", dtype), BLOCKS, scheme, "cpu", dtype)


def load(folder: Path) -> PreTrainedModel:
    """As anybody would, with nothing of Bunsen."""
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    return loaded


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(BLOCKS).logits.float()
    return found


def data_bytes(folder: Path) -> int:
    """Bytes of the weight file behind its header."""
    content = (folder / "model.safetensors").read_bytes()
    return len(content) - 8 - int(struct.unpack("<Q", content[:8])[0])


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.method}-{s.bits}-{s.group_size}")
def test_what_is_loaded_computes_what_was_saved(base: Path, scheme: Scheme, tmp_path: Path) -> None:
    quantized = quantize(base, scheme)
    save_quantized(quantized, load_tokenizer(base), base, tmp_path)
    if scheme.stored == "bitsandbytes":
        show_bitsandbytes()
        # LLM.int8 computes from numbers of 16 bits: one that lies between two integers may go to
        # the other one.
        tolerance = 1e-2 if scheme.method == "int8" else 1e-4
        found = logits(load_model(tmp_path, "cpu"))
    else:
        found, tolerance = logits(load(tmp_path)), 1e-5
    meant = logits(quantized.model)
    assert (found - meant).abs().max() <= tolerance * meant.abs().max()
    # What bitsandbytes notes of nested scales has a number of as many digits as it needs.
    slack = 64 if scheme.double_quantization else 0
    assert abs(data_bytes(tmp_path) - expected_bytes(read_facts(base), scheme, 4)) <= slack


@pytest.mark.parametrize(
    "scheme", [Scheme("gptq", 4, 32, symmetric=False), Scheme("smoothquant", 8, None)]
)
def test_in_bfloat16_as_well(base: Path, scheme: Scheme, tmp_path: Path) -> None:
    quantized = quantize(base, scheme, torch.bfloat16)
    save_quantized(quantized, load_tokenizer(base), base, tmp_path)
    loaded = load(tmp_path)
    assert torch.equal(logits(loaded), logits(quantized.model))
    assert loaded.dtype == torch.bfloat16
    assert data_bytes(tmp_path) == expected_bytes(read_facts(base), scheme, 2)


def test_a_model_of_32_bits_saved_in_16_computes_the_same_in_32(base: Path, tmp_path: Path) -> None:
    scheme = Scheme("gptq", 4, 32)
    model = load_model(base, "cpu")
    quantized = quantize_model(model, BLOCKS, scheme, "cpu", torch.bfloat16)
    save_quantized(quantized, load_tokenizer(base), base, tmp_path)
    assert load(tmp_path).dtype == torch.bfloat16
    assert torch.equal(logits(load_model(tmp_path, "cpu")), logits(quantized.model))
    assert data_bytes(tmp_path) == expected_bytes(read_facts(base), scheme, 2)


def test_the_folder_says_how_it_is_stored(base: Path, tmp_path: Path) -> None:
    scheme = Scheme("gptq", 4, 32)
    save_quantized(quantize(base, scheme), load_tokenizer(base), base, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    stated = config["quantization_config"]
    assert (stated["quant_method"], stated["format"]) == ("compressed-tensors", "pack-quantized")
    assert read_facts(tmp_path).quantization == "compressed-tensors"
    assert load_tokenizer(tmp_path).eos_token == load_tokenizer(base).eos_token


def test_embeddings_and_head_stay_whole(base: Path) -> None:
    before = load_model(base, "cpu").state_dict()
    after = quantize(base, Scheme("rtn", 4, 32)).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj.weight" in name}


def test_every_matrix_is_reported_once_and_a_stop_is_noticed(base: Path) -> None:
    told: list[MatrixReport] = []
    scheme = Scheme("gptq", 3, 32)
    model = load_model(base, "cpu")
    quantize_model(model, BLOCKS, scheme, "cpu", torch.float32, told.append)
    assert len(told) == len({report.name for report in told}) == 14
    assert all(0 < report.output_error < report.rounding_error for report in told)
    # 3 bits, one float32 scale for 32 weights, and two numbers for the shape.
    assert all(report.bits == pytest.approx(4, abs=0.1) for report in told)

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        quantize_model(
            load_model(base, "cpu"), BLOCKS, scheme, "cpu", torch.float32, told.append, stop
        )


def test_eight_bits_lose_next_to_nothing_and_fewer_lose_more(base: Path) -> None:
    whole = logits(load_model(base, "cpu"))
    off = [
        (logits(quantize(base, Scheme("gptq", bits, 32)).model) - whole).square().mean()
        for bits in (8, 4, 2)
    ]
    assert off == sorted(off)
    assert off[0] < 1e-3 * whole.square().mean()
