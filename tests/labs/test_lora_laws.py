"""What must hold of LoRA alone; what holds of every tuning is in test_tuning_laws."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from labs.common.loading import count_parameters, load_model
from labs.peft.lora import method
from labs.peft.lora.spec import LoraParams
from labs.peft.lora.tuning import LoraTuning
from labs.peft.lora.updates import updates


@pytest.mark.parametrize("variant", ["lora", "rslora", "dora"])
def test_peft_computes_what_the_paper_says(tiny_model: Path, variant: method.Variant) -> None:
    torch.manual_seed(0)
    params = LoraParams.model_validate({"rank": 4, "variant": variant, "alpha": 12.0})
    model = LoraTuning(params).attach(load_model(tiny_model, "cpu"))
    assert count_parameters(model)[1] == sum(update.trainable for update in updates(model))
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    for layer in layers:
        a, b = layer.lora_A["default"].weight, nn.init.normal_(layer.lora_B["default"].weight)
        weight, s = layer.base_layer.weight, method.scale(4, 12.0, variant)
        x = torch.randn(3, weight.shape[1])
        expected = method.lora_forward(x, weight, a, b, s)
        if variant == "dora":
            length = layer.lora_magnitude_vector["default"].weight
            expected = x @ method.dora_weight(weight, a, b, s, length).T
        if layer.base_layer.bias is not None:
            expected = expected + layer.base_layer.bias
        torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=1e-4)


def test_singular_values_are_those_of_the_product() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(4, 30), torch.randn(20, 4)
    expected = torch.linalg.svdvals(2.0 * b @ a)[:4]
    torch.testing.assert_close(method.singular_values(a, b, 2.0), expected, atol=1e-4, rtol=1e-4)


def test_rslora_keeps_its_scale_as_the_rank_grows() -> None:
    assert method.scale(64, 16.0, "lora") == 0.25
    assert method.scale(64, 16.0, "rslora") == 2.0
