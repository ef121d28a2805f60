"""What LoRA refuses before a run is queued, and what it would take."""

import dataclasses
from pathlib import Path

import pytest

from labs import estimate, registry
from labs.models import ModelFacts, read_facts
from labs.peft.lora import spec
from labs.peft.lora.spec import LoraParams, refuse

LAB = registry.get("lora")


@pytest.fixture(scope="module")
def facts(tiny_model: Path) -> ModelFacts:
    return read_facts(tiny_model)


def params(**changes: object) -> LoraParams:
    return LoraParams.model_validate({"max_length": 64, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target_modules": "q_proj,c_attn"}, "“tiny” has no module c_attn."),
        ({"rank": 33}, "Rank 33 does not fit k_proj, a matrix of 32 × 64: at most 32 makes sense."),
        (
            {"max_length": 300},
            "A maximum length of 300 does not fit “tiny”, which reads at most 256",
        ),
    ],
)
def test_what_cannot_fit_is_refused_with_the_reason_at_its_parameter(
    facts: ModelFacts, changes: dict[str, object], sentence: str
) -> None:
    refused = refuse(facts, params(**changes))
    assert refused is not None
    assert sentence in str(refused)
    assert [refused.parameter] == list(changes)


def test_what_fits_is_accepted(facts: ModelFacts) -> None:
    assert refuse(facts, params()) is None
    assert refuse(facts, params(rank=32, target_modules="k_proj")) is None
    assert refuse(facts, params(base_quantization="nf4")) is None


def test_rows_that_nf4_cannot_pack_are_refused(facts: ModelFacts) -> None:
    odd = dataclasses.replace(facts.matrices["q_proj"], inputs=48)
    changed = dataclasses.replace(facts, matrices={"q_proj": odd})
    assert "rows of 48" in str(refuse(changed, params(base_quantization="nf4")))


def test_a_base_stored_quantized_is_refused(facts: ModelFacts) -> None:
    stored = dataclasses.replace(facts, quantization="gptq")
    assert "is stored quantized (gptq)" in str(refuse(stored, params()))


def test_quantization_needs_its_package(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "has_bitsandbytes", lambda: False)
    assert "bitsandbytes" in str(refuse(facts, params(base_quantization="int8")))
    assert refuse(facts, params()) is None


def test_target_modules_come_as_text_or_list() -> None:
    assert params(target_modules="q_proj, v_proj q_proj").target_modules == ("q_proj", "v_proj")
    assert params(target_modules=["k_proj"]).target_modules == ("k_proj",)


def test_parts_add_up_and_adapters_are_what_the_formula_says(facts: ModelFacts) -> None:
    found = estimate.estimate(LAB, facts, params(rank=4), "cpu")
    assert found.total_bytes == sum(found.parts.values())
    assert found.parts["adapters"] == 4 * params(rank=4).trainable_parameters(facts)
    assert found.parts["weights"] == facts.bytes
    assert 0 < found.seconds_low < found.seconds_high


@pytest.mark.parametrize(
    "changes",
    [
        {"rank": 8},
        {"batch_size": 64},
        {"max_length": 128},
        {"variant": "dora"},
    ],
)
def test_more_of_anything_takes_more_memory(facts: ModelFacts, changes: dict[str, object]) -> None:
    small = estimate.estimate(LAB, facts, params(rank=4), "cuda").total_bytes
    assert (
        estimate.estimate(LAB, facts, params(**{"rank": 4, **changes}), "cuda").total_bytes > small
    )


def test_alternatives_take_less_and_are_valid(facts: ModelFacts) -> None:
    # A model large enough for its weights to matter.
    large = dataclasses.replace(facts, parameters=7_000_000_000, layers=28, hidden_size=4096)
    wanted = params(batch_size=32)
    whole = estimate.estimate(LAB, large, wanted, "cuda").total_bytes
    found = estimate.alternatives(LAB, large, wanted, "cuda")
    assert len(found) >= 4
    for option in found:
        assert option.estimate.total_bytes <= whole
        LoraParams.model_validate({**wanted.model_dump(), **option.changes})
    assert estimate.alternatives(LAB, large, wanted, "cuda", fits_bytes=1) == []


def test_quantized_weights_count_what_they_take(facts: ModelFacts) -> None:
    four = params(base_quantization="nf4", double_quantization=True).bits_per_weight(facts)
    assert 4 < four < params(base_quantization="int8").bits_per_weight(facts) < 32
