"""From what is asked to the runs: all combinations, each once, each judged by the lab."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput
from app.runs.submit import Submission
from app.sweeps.asked import Asked, Span, Vary
from app.sweeps.plan import MOST_RUNS, Plan, plan_of
from app.sweeps.suggestions import suggestions
from app.sweeps.values import refusal
from labs.registry import all_labs, get

BASE = Submission("lora", params={"steps": 10}, seed=3)
RATE = "learning_rate"


def plan(*vary: Vary, base: Submission = BASE, **values: Any) -> Plan:
    return plan_of(Asked(base, vary, **values))


def names(found: Plan) -> list[str]:
    return [each.name for each in found.submissions]


def refused(*vary: Vary, **values: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as error:
        plan(*vary, **values)
    fields = [each.field for each in error.value.errors]
    assert len(set(fields)) == len(fields), "each field once"
    return {each.field: str(each) for each in error.value.errors}


def test_a_grid_has_every_combination_named_by_what_varies() -> None:
    found = plan(Vary("rank", ["4", "8"]), Vary(RATE, [0.01, "1e-3"]))
    assert names(found) == [
        "lora: rank 4, learning_rate 0.01",
        "lora: rank 4, learning_rate 0.001",
        "lora: rank 8, learning_rate 0.01",
        "lora: rank 8, learning_rate 0.001",
    ]
    assert found.values[0] == (4, 0.01)
    assert {each.seed for each in found.submissions} == {3}
    assert found.submissions[0].params == {"steps": 10, "rank": "4", RATE: 0.01}


def test_equal_values_make_one_run() -> None:
    found = plan(Vary("rank", ["4", 4, "04", 8]))
    assert (names(found), found.repeated) == (["lora: rank 4", "lora: rank 8"], 2)


def test_lists_and_choices_vary_too() -> None:
    found = plan(Vary("target_modules", ["q_proj, v_proj", ["all-linear"]]))
    assert found.values == [(["q_proj", "v_proj"],), (["all-linear"],)]
    assert names(plan(Vary("variant", ["lora", "dora"]))) == [
        "lora: variant lora",
        "lora: variant dora",
    ]


@settings(deadline=None, max_examples=30)
@given(
    low=st.floats(1e-6, 1e-2),
    ratio=st.floats(2, 100),
    count=st.integers(2, 20),
    scale=st.sampled_from(["linear", "log"]),
)
def test_a_range_goes_evenly_from_end_to_end(
    low: float, ratio: float, count: int, scale: Any
) -> None:
    high = low * ratio
    found = [value for (value,) in plan(Vary(RATE, span=Span(low, high, count, scale))).values]
    assert (found[0], found[-1]) == (low, high)
    assert found == sorted(found)
    assert len(found) == count
    turned = [math.log(each) if scale == "log" else each for each in found]
    apart = [b - a for a, b in pairwise(turned)]
    # Values are kept to four digits.
    slack = 2e-3 if scale == "log" else 2e-3 * high
    assert max(apart) - min(apart) <= slack


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(2, 196), st.integers(2, 20))
def test_a_range_of_whole_numbers_has_whole_numbers(low: int, width: int, count: int) -> None:
    found = [value for (value,) in plan(Vary("rank", span=Span(low, low + width, count))).values]
    assert all(isinstance(each, int) for each in found)
    assert (found[0], found[-1]) == (low, low + width)
    assert len(set(found)) == len(found)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 12))
def test_a_draw_is_its_seed_and_stays_inside(seed: int, runs: int) -> None:
    vary = (Vary(RATE, span=Span(1e-4, 1e-1, 2, "log")), Vary("rank", [1, 2, 4]))
    found = plan(*vary, method="random", runs=runs, draw_seed=seed)
    again = plan(*vary, method="random", runs=runs, draw_seed=seed)
    assert found.values == again.values
    assert len(set(found.values)) == len(found.submissions) == runs
    assert all(1e-4 <= rate <= 1e-1 and rank in (1, 2, 4) for rate, rank in found.values)


def test_a_draw_ends_where_there_are_no_more_different_ones() -> None:
    assert len(plan(Vary("rank", [1, 2, 4]), method="random", runs=9).submissions) == 3


@pytest.mark.parametrize(
    ("vary", "field", "part"),
    [
        ([], "vary.0.parameter", "Choose a parameter"),
        ([Vary("rank", [1, 2])] * 2, "vary.1.parameter", "two different"),
        ([Vary("rank", [1]), Vary(RATE, [1]), Vary("alpha", [1])], "vary", "At most 2 parameters"),
        ([Vary("rnak", [1, 2])], "vary.0.parameter", "Did you mean: rank?"),
        ([Vary("rank", [])], "vary.0.values", "Give the values that “Rank r” takes."),
        ([Vary("rank", [4])], "vary.0.values", "at least two different runs"),
        ([Vary("rank", [4, 300])], "vary.0.values", "Rank r: 300 does not fit: allowed is 1 to 256."),
        ([Vary("rank", [0, 4, 300, "x"])], "vary.0.values", "0 does not fit: allowed is 1 to 256. Also refused: 300, x."),
        ([Vary("variant", ["lora", "x"])], "vary.0.values", "“x” is not one of"),
        ([Vary("target_modules", ["all-linear, q_proj", "v_proj"])], "vary.0.values", "name it alone"),
        ([Vary("variant", span=Span(1, 2, 3))], "vary.0.parameter", "list its values"),
        ([Vary("rank", span=Span(8, 4, 3))], "vary.0.to", "not from 8 to 4"),
        ([Vary("rank", span=Span(1, math.inf, 3))], "vary.0.to", "to inf"),
        ([Vary("rank", span=Span(1, 4, 1))], "vary.0.count", "2 to 64 values, not 1"),
        ([Vary("dropout", span=Span(0, 0.5, 3, "log"))], "vary.0.from", "above 0: 0 is not"),
        ([Vary("rank", span=Span(1, 300, 3))], "vary.0.to", "300 does not fit"),
        ([Vary("rank", list(range(1, 66)))], "", "These are 65 runs; at most 64"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_told_at_its_field(vary: list[Vary], field: str, part: str) -> None:
    errors = refused(*vary)
    assert list(errors) == [field]
    assert part in errors[field]


@pytest.mark.parametrize("runs", [None, 0, 1, MOST_RUNS + 1])
def test_a_draw_has_a_size(runs: int | None) -> None:
    errors = refused(Vary("rank", [1, 2, 4]), method="random", runs=runs)
    assert errors == {"runs": "Draw 2 to 64 runs."}


def test_values_that_do_not_go_together_are_left_to_the_preflight() -> None:
    """Of one pair only: the others are fine, and which one it was is said by its name."""
    found = plan(
        Vary("base_quantization", ["none", "nf4"]), Vary("double_quantization", ["false", "true"])
    )
    assert len(found.submissions) == 4


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.slug)
def test_every_suggested_value_holds(lab: Any) -> None:
    offered = suggestions(lab, {})
    assert set(offered) == set(lab.params.model_fields)
    for name, each in offered.items():
        if each.is_number:
            values = [value for value in each.values.split(", ") if value]
            assert [refusal(get(lab.slug), name, value) for value in values] == [None] * len(values)
