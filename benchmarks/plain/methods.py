"""How a model is made ready for each method: peft's configuration, or the few lines it lacks."""

from collections.abc import Callable
from typing import Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from torch import nn
from transformers import AutoModelForCausalLM

Params = dict[str, Any]


def load(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def lora(folder: str, params: Params) -> Any:
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params["rank"],
        lora_alpha=params["alpha"],
        lora_dropout=params["dropout"],
        target_modules="all-linear",
    )
    return get_peft_model(load(folder), config)


def ia3(folder: str, params: Params) -> Any:
    targets = ["k_proj", "v_proj", "down_proj"]
    config = IA3Config(
        task_type="CAUSAL_LM", target_modules=targets, feedforward_modules=["down_proj"]
    )
    return get_peft_model(load(folder), config)


def prompt_tuning(folder: str, params: Params) -> Any:
    config = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=params["virtual_tokens"],
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=params["initial_text"],
        tokenizer_name_or_path=folder,
    )
    return get_peft_model(load(folder), config)


def prefix_tuning(folder: str, params: Params) -> Any:
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=params["virtual_tokens"],
        prefix_projection=params.get("reparameterize", False),
        encoder_hidden_size=params.get("prefix_width"),
    )
    return get_peft_model(load(folder), config)


def p_tuning(folder: str, params: Params) -> Any:
    config = PromptEncoderConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=params["virtual_tokens"],
        encoder_reparameterization_type=params["encoder"].upper(),
        encoder_hidden_size=params["encoder_width"],
        encoder_num_layers=params["encoder_layers"] if params["encoder"] == "lstm" else 2,
    )
    return get_peft_model(load(folder), config)


class Bottleneck(nn.Module):
    """Houlsby et al. 2019: down, a function, up from zero, and what came in."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(hidden, width), nn.Linear(width, hidden)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = h + self.up(nn.functional.gelu(self.down(h)))
        return changed


def adapter(folder: str, params: Params) -> Any:
    """peft has no class for it."""
    model = load(folder).requires_grad_(False)
    hidden = model.config.hidden_size
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            part.adapter = Bottleneck(hidden, hidden // params["reduction_factor"])
            part.register_forward_hook(through)
    return model


def through(part: Any, inputs: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return (part.adapter(output[0]), *output[1:])
    return part.adapter(output)


def bitfit(folder: str, params: Params) -> Any:
    """peft has no class for it."""
    model = load(folder)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith(".bias"))
    return model


def full(folder: str, params: Params) -> Any:
    return load(folder)


# P-tuning v2 with the language model's head is peft's prefix without its projection.
METHODS: dict[str, Callable[[str, Params], Any]] = {
    "lora": lora,
    "adapter": adapter,
    "prompt_tuning": prompt_tuning,
    "prefix_tuning": prefix_tuning,
    "ia3": ia3,
    "bitfit": bitfit,
    "p_tuning": p_tuning,
    "p_tuning_v2": prefix_tuning,
    "full": full,
}
