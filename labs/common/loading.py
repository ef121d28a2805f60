"""Models and tokenizers from local folders: safetensors only, no code of others."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from labs.common.quantization import show_bitsandbytes
from labs.contract import LabError
from labs.models import read_facts

# A causal language model, bare or wrapped by peft.
CausalModel = PreTrainedModel | PeftModel
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@lru_cache(maxsize=1)
def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, the same for all stages; it must know an end token.

    Raises:
        ModelRefused: If the folder holds no model that can be loaded safely.
        LabError: If the tokenizer has no end token.
    """
    read_facts(folder)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    if tokenizer.eos_token_id is None:
        raise LabError(
            "The tokenizer of “{name}” names no end token (eos_token), so a model could not learn to stop.",
            name=folder.name,
        )
    return tokenizer


def load_model(
    folder: Path,
    device: str,
    dtype: torch.dtype = torch.float32,
    quantization: str = "none",
    double_quantization: bool = False,
) -> PreTrainedModel:
    """Load a causal language model for a device, in evaluation mode.

    Args:
        folder: A Hugging Face model folder with safetensors weights.
        device: "cpu" or "cuda".
        dtype: Format of the weights; with quantization, of what is computed.
        quantization: "none", "nf4" or "int8".
        double_quantization: Quantize the scales of NF4 as well.

    Raises:
        ModelRefused: If the folder holds no model that can be loaded safely.
        LabError: If bitsandbytes is asked for and does not load here.
    """
    stored = read_facts(folder).quantization
    options: dict[str, Any] = {}
    if stored == "bitsandbytes":
        show_bitsandbytes()
    if quantization != "none":
        show_bitsandbytes()
        options["quantization_config"] = _quantization(quantization, double_quantization, dtype)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map={"": device},
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
        **options,
    )
    _generate_greedily(model)
    _keep_differentiable(model)
    model.eval()
    return model


def _quantization(kind: str, double: bool, dtype: torch.dtype) -> BitsAndBytesConfig:
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=dtype,
    )


def _keep_differentiable(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights on a CPU at the first evaluation.

    Its packed kernel (0.50, CPUs with AVX512-BF16) passes no gradient, and the weights
    stay packed when training goes on.
    """
    flag = "support_avx512bf16_for_cpu"
    for module in model.modules():
        if hasattr(module, flag):
            setattr(module, flag, False)


def _generate_greedily(model: PreTrainedModel) -> None:
    """Forget the sampling and penalties a model was published with: they would blur comparisons."""
    published = model.generation_config
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=published.eos_token_id,
        pad_token_id=published.pad_token_id,
        bos_token_id=published.bos_token_id,
    )


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to fill rows with. Which one does not matter: the attention mask hides it."""
    known = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if known is None else known)


def end_ids(model: CausalModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer."""
    stated = model.generation_config.eos_token_id
    listed = stated if isinstance(stated, list) else [] if stated is None else [stated]
    return sorted({*listed, int(tokenizer.eos_token_id)})


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All numbers of a model, and those that are trained; packed 4-bit weights count in full."""
    total = trainable = 0
    for parameter in model.parameters():
        size = _unpacked_size(parameter)
        total += size
        trainable += size if parameter.requires_grad else 0
    return total, trainable


def _unpacked_size(parameter: nn.Parameter) -> int:
    # bitsandbytes keeps two 4-bit weights in a byte and remembers the shape they had.
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(torch.Size(state.shape).numel())
