"""What must hold of LoRA whatever it is trained on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from labs.common.agreement import largest_difference, logits
from labs.common.batches import collate
from labs.common.formatting import Encoded
from labs.common.loading import count_parameters, load_model
from labs.common.params import TrainingParams
from labs.common.state import TrainingState
from labs.common.training import update
from labs.models import read_facts
from labs.peft.lora import method
from labs.peft.lora.spec import LoraParams
from labs.peft.lora.tuning import LoraTuning
from labs.peft.lora.updates import updates

VARIANTS = ("lora", "rslora", "dora")
PROMPTS = [(1, 40, 50, 60, 70), (1, 99, 98, 97, 96, 95, 94)]
ROWS = [Encoded((1, 30 + i, 40 + i, 50 + i, 2), 2) for i in range(8)]


def lora_on(folder: Path, **changes: object) -> PeftModel:
    torch.manual_seed(0)
    tuning = LoraTuning(LoraParams.model_validate({"rank": 4, **changes}))
    return tuning.attach(load_model(folder, "cpu"))


def trained(model: PeftModel, steps: int = 3) -> PeftModel:
    params = TrainingParams(learning_rate=0.05)
    state = TrainingState(model, params, "cpu")
    batch = collate(ROWS, 0, "cpu")
    for _ in range(steps):
        update(state, [batch], params, params.learning_rate)
    return model


def frozen(model: PeftModel) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("variant", VARIANTS)
def test_at_the_start_it_says_what_the_base_says(tiny_model: Path, variant: str) -> None:
    base = load_model(tiny_model, "cpu")
    before = logits(base, PROMPTS, "cpu")
    after = logits(lora_on(tiny_model, variant=variant), PROMPTS, "cpu")
    # B = 0 makes LoRA exact; DoRA divides each row by its own norm, which rounds.
    assert largest_difference(before, after) <= (0.0 if variant != "dora" else 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_frozen_weights_never_move(tiny_model: Path, variant: str) -> None:
    model = lora_on(tiny_model, variant=variant)
    before = frozen(model)
    trained(model)
    assert all(torch.equal(before[name], weight) for name, weight in frozen(model).items())


def test_only_the_update_gets_gradients(tiny_model: Path) -> None:
    model = trained(lora_on(tiny_model), steps=1)
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient
    assert all("lora_" in name for name in with_gradient)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
def test_trainable_parameters_follow_the_formula(
    tiny_model: Path, variant: str, targets: str
) -> None:
    params = LoraParams.model_validate({"rank": 4, "variant": variant, "target_modules": targets})
    model = LoraTuning(params).attach(load_model(tiny_model, "cpu"))
    _, trainable = count_parameters(model)
    assert trainable == params.trainable_parameters(read_facts(tiny_model))
    assert trainable == sum(update.trainable for update in updates(model))


@pytest.mark.parametrize("variant", VARIANTS)
def test_merging_keeps_every_logit(tiny_model: Path, variant: str) -> None:
    model = trained(lora_on(tiny_model, variant=variant))
    unmerged = logits(model, PROMPTS, "cpu")
    base = logits(load_model(tiny_model, "cpu"), PROMPTS, "cpu")
    merged = logits(model.merge_and_unload(), PROMPTS, "cpu")
    assert largest_difference(unmerged, base) > 1e-2
    assert largest_difference(unmerged, merged) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_adapter_loads_and_predicts_the_same(
    tiny_model: Path, tmp_path: Path, variant: str
) -> None:
    model = trained(lora_on(tiny_model, variant=variant))
    tuning = LoraTuning(LoraParams())
    tuning.save(model, tmp_path, "tiny")
    loaded = tuning.load(load_model(tiny_model, "cpu"), tmp_path)
    assert largest_difference(logits(model, PROMPTS, "cpu"), logits(loaded, PROMPTS, "cpu")) == 0.0
    assert str(tiny_model) not in (tmp_path / "adapter_config.json").read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_peft_computes_what_the_paper_says(tiny_model: Path, variant: method.Variant) -> None:
    model = trained(lora_on(tiny_model, variant=variant, alpha=12.0))
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    for layer in layers:
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        weight, s = layer.base_layer.weight, method.scale(4, 12.0, variant)
        x = torch.randn(3, weight.shape[1])
        expected = method.lora_forward(x, weight, a, b, s)
        if variant == "dora":
            length = layer.lora_magnitude_vector["default"].weight
            expected = x @ method.dora_weight(weight, a, b, s, length).T
        if layer.base_layer.bias is not None:
            expected = expected + layer.base_layer.bias
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_singular_values_are_those_of_the_product() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(4, 30), torch.randn(20, 4)
    expected = torch.linalg.svdvals(2.0 * b @ a)[:4]
    torch.testing.assert_close(method.singular_values(a, b, 2.0), expected, atol=1e-4, rtol=1e-4)


def test_rslora_keeps_its_scale_as_the_rank_grows() -> None:
    assert method.scale(64, 16.0, "lora") == 0.25
    assert method.scale(64, 16.0, "rslora") == 2.0
