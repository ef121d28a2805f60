"""Laws of the estimate: more never takes less, and what saves memory does."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from labs import bundled
from labs.common.params import SPARE_TOKENS
from labs.estimate import Lengths, alternatives, estimate
from labs.models import read_facts
from labs.peft.lora.spec import LAB, LoraParams

FACTS = {name: read_facts(path) for name, path in bundled.models().items()}
TRAINING = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "library")

params_of = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 256),
        "max_length": st.integers(8, 512),
        "rank": st.integers(1, 64),
        "dropout": st.sampled_from([0.0, 0.1]),
        "variant": st.sampled_from(["lora", "dora"]),
        "precision": st.sampled_from(["fp32", "bf16"]),
        "base_quantization": st.sampled_from(["none", "nf4"]),
        "gradient_checkpointing": st.booleans(),
    }
)
lengths_of = st.none() | st.builds(
    Lengths, st.floats(1, 100), st.integers(100, 2000), st.floats(0.01, 1)
)
model_of = st.sampled_from(sorted(FACTS))
device_of = st.sampled_from(["cpu", "cuda"])


def parts(model: str, device: Any, lengths: Lengths | None, given: Any, **more: Any) -> Any:
    return estimate(LAB, FACTS[model], LoraParams(**{**given, **more}), device, lengths)


@settings(deadline=None)
@given(model_of, device_of, lengths_of, params_of)
def test_parts_add_up_and_none_is_negative(
    model: str, device: str, lengths: Lengths | None, given: Any
) -> None:
    found = parts(model, device, lengths, given)
    assert set(TRAINING) <= set(found.parts)
    assert min(found.parts.values()) >= 0
    assert sum(found.parts.values()) == found.total_bytes
    assert 0 < found.seconds_low < found.seconds_high


@settings(deadline=None)
@given(
    model_of,
    device_of,
    lengths_of,
    params_of,
    st.sampled_from(["batch_size", "max_length", "rank"]),
)
def test_more_rows_longer_rows_and_a_higher_rank_never_take_less(
    model: str, device: str, lengths: Lengths | None, given: Any, name: str
) -> None:
    less = parts(model, device, lengths, given)
    more = parts(model, device, lengths, given, **{name: given[name] + 1})
    assert more.total_bytes >= less.total_bytes
    # With more rows at once an evaluation goes faster.
    if name != "batch_size":
        assert more.seconds_high >= less.seconds_high


@settings(deadline=None)
@given(model_of, device_of, lengths_of, params_of)
def test_evaluation_adds_at_most_the_keys_and_values_of_its_rows(
    model: str, device: str, lengths: Lengths | None, given: Any
) -> None:
    facts = FACTS[model]
    found = parts(model, device, lengths, given)
    width = 4 if given["precision"] == "fp32" else 2
    cached = 2 * facts.layers * facts.kv_heads * facts.head_dim * width
    tokens = 2 * given["max_length"] + SPARE_TOKENS
    assert found.parts["evaluation"] <= given["batch_size"] * tokens * cached


@settings(deadline=None)
@given(model_of, device_of, params_of, st.integers(8, 400))
def test_longer_rows_of_the_dataset_never_take_less(
    model: str, device: str, given: Any, longest: int
) -> None:
    def total(tokens: int) -> int:
        found: int = parts(model, device, Lengths(8, tokens), given).total_bytes
        return found

    assert total(longest) <= total(longest + 1) <= parts(model, device, None, given).total_bytes


@settings(deadline=None)
@given(model_of, device_of, lengths_of, params_of)
def test_checkpointing_never_keeps_more_activations(
    model: str, device: str, lengths: Lengths | None, given: Any
) -> None:
    plain = parts(model, device, lengths, given, gradient_checkpointing=False)
    kept = parts(model, device, lengths, given, gradient_checkpointing=True)
    assert kept.parts["activations"] <= plain.parts["activations"]
    assert kept.seconds_high > plain.seconds_high


@settings(deadline=None)
@given(model_of, device_of, params_of)
def test_nf4_weights_take_less(model: str, device: str, given: Any) -> None:
    plain = parts(model, device, None, given, base_quantization="none")
    small = parts(model, device, None, given, base_quantization="nf4")
    assert small.parts["weights"] < plain.parts["weights"]
    assert small.total_bytes <= plain.total_bytes


@settings(deadline=None)
@given(model_of, device_of, lengths_of, params_of)
def test_each_alternative_needs_less_and_is_valid(
    model: str, device: Any, lengths: Lengths | None, given: Any
) -> None:
    params = LoraParams(**given)
    whole = estimate(LAB, FACTS[model], params, device, lengths).total_bytes
    found = alternatives(LAB, FACTS[model], params, device, lengths=lengths)
    assert len({option.name for option in found}) == len(found)
    for option in found:
        assert option.estimate.total_bytes < whole
        changed = LoraParams.model_validate({**params.model_dump(), **option.changes})
        assert option.estimate == estimate(LAB, FACTS[model], changed, device, lengths)


@settings(deadline=None)
@given(model_of, device_of, lengths_of, params_of, st.integers(0, 2**33))
def test_a_limit_leaves_only_what_fits(
    model: str, device: Any, lengths: Lengths | None, given: Any, limit: int
) -> None:
    found = alternatives(LAB, FACTS[model], LoraParams(**given), device, limit, lengths)
    assert all(option.estimate.total_bytes <= limit for option in found)
