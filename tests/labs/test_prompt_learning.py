"""What must hold of all labs that put trained vectors before the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import FalconConfig, FalconForCausalLM, GenerationConfig

from labs import registry
from labs.common.batches import pad_left
from labs.common.loading import load_model
from labs.common.prompt_learning import encoder_of, vectors_of
from labs.contract import LabError
from labs.estimate import estimate
from labs.fields import parse
from labs.models import read_facts
from tests.labs.families import make_family
from tests.labs.tuning_cases import CASES, Case, context, tuning

LABS = ("p_tuning", "p_tuning_v2", "prefix_tuning", "prompt_tuning")
DEEP = ("p_tuning_v2", "prefix_tuning")
PROMPT_CASES = [case for case in CASES if case.slug in LABS]
PROMPTS = [(1, 40, 50, 60, 70), (1, *range(85, 99)), (1, 45)]


def far_from_zero(model: Any) -> Any:
    """Vectors and weights large enough for their positions to matter."""
    with torch.no_grad():
        for weight in (*encoder_of(model).parameters(), *model.get_base_model().parameters()):
            if weight.ndim > 1:
                weight.mul_(3)
    return model


def next_scores(model: Any, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Scores of two further tokens, as `generate` finds them, (B, 2, V)."""
    make: Any = GenerationConfig  # transformers leaves it untyped
    config = make(
        do_sample=False,
        max_new_tokens=2,
        min_new_tokens=2,
        eos_token_id=[2],
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    with torch.inference_mode():
        found = model.generate(**pad_left(prompts, 0, "cpu"), generation_config=config).logits
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
@pytest.mark.parametrize("slug", LABS)
def test_a_row_is_answered_alike_alone_and_beside_longer_ones(
    tmp_path: Path, tiny_dataset: Path, family: str, slug: str
) -> None:
    folder = make_family(family, tmp_path / family)
    run = context(Case(slug), tmp_path / "run", folder, tiny_dataset)
    torch.manual_seed(0)
    model = far_from_zero(tuning(Case(slug), run).attach(load_model(folder, "cpu")))
    with model.disable_adapter():
        base = next_scores(model, PROMPTS)
    together = next_scores(model, PROMPTS)
    alone = torch.cat([next_scores(model, [prompt]) for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert float((together - base).abs().max()) > 1e-2


@pytest.mark.parametrize("slug", LABS)
def test_virtual_tokens_count_towards_the_context(tiny_model: Path, slug: str) -> None:
    lab, facts = registry.get(slug), read_facts(tiny_model)
    fits = lab.params.model_validate({"max_length": 240, "virtual_tokens": 16})
    assert lab.accepts.refuse(facts, fits) is None
    refused = lab.accepts.refuse(facts, fits.model_copy(update={"virtual_tokens": 17}))
    assert refused is not None
    assert refused.parameter == "max_length"
    assert "240 with 17 virtual tokens" in str(refused)


@pytest.mark.parametrize("slug", LABS)
def test_more_virtual_tokens_never_take_less_memory(tiny_model: Path, slug: str) -> None:
    lab, facts = registry.get(slug), read_facts(tiny_model)
    found = [
        estimate(lab, facts, lab.params.model_validate({"virtual_tokens": count}), "cuda")
        for count in (1, 2, 16, 200)
    ]
    needed = [each.total_bytes for each in found]
    assert sorted(set(needed)) == needed
    seconds = [each.seconds_high for each in found]
    assert sorted(seconds) == seconds


@pytest.mark.parametrize("slug", DEEP)
def test_gradient_checkpointing_is_refused_at_its_field(slug: str) -> None:
    params, wrong = parse(registry.get(slug).params, {"gradient_checkpointing": True})
    assert params is None
    assert list(wrong) == ["gradient_checkpointing"]
    assert "leave it off" in wrong["gradient_checkpointing"]


@pytest.mark.parametrize("slug", DEEP)
def test_a_base_that_takes_no_keys_and_values_is_refused_in_words(
    tmp_path: Path, tiny_model: Path, tiny_dataset: Path, slug: str
) -> None:
    make: Any = FalconForCausalLM  # transformers leaves it untyped
    shared_keys = make(
        FalconConfig(vocab_size=259, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
    )
    run = context(Case(slug), tmp_path, tiny_model, tiny_dataset)
    with pytest.raises(LabError, match="“FalconForCausalLM” does not take trained keys"):
        tuning(Case(slug), run).attach(shared_keys)


@pytest.mark.parametrize("slug", LABS)
def test_what_is_trained_is_float32_on_a_16_bit_base(
    tmp_path: Path, tiny_model: Path, tiny_dataset: Path, slug: str
) -> None:
    run = context(Case(slug), tmp_path, tiny_model, tiny_dataset)
    base = load_model(tiny_model, "cpu", torch.bfloat16)
    model = tuning(Case(slug), run).attach(base)
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    assert (trained, base.dtype) == ({torch.float32}, torch.bfloat16)
    assert vectors_of(model).dtype == torch.float32
