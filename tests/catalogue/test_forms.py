"""Fields from parameters, and sent texts back to parameters."""

from typing import Annotated, Literal

import pytest
from pydantic import Field as Parameter

from app.errors import FieldError
from app.forms import COMPLETE, Field, Values, as_text, param_fields, param_values
from labs.contract import Params


class ExampleParams(Params):
    rank: Annotated[
        int,
        Parameter(
            title="Rank", ge=1, le=256, description="Width.",
            json_schema_extra={"unit": "columns", "basic": True},
        ),
    ] = 8  # fmt: skip
    rate: Annotated[float, Parameter(title="Rate", gt=0, le=1)] = 5e-3
    epochs: Annotated[float | None, Parameter(title="Epochs", gt=0, le=100)] = None
    kind: Literal["linear", "cosine"] = "cosine"
    twice: bool = False
    names: tuple[str, ...] = ("q", "v")


def fields(**texts: str) -> dict[str, Field]:
    found = param_fields(ExampleParams, Values(texts))
    return {field.name: field for field in found}


def test_a_field_says_type_range_unit_and_help() -> None:
    rank = fields()["rank"]
    assert (rank.kind, rank.value, rank.step) == ("number", "8", "1")
    assert (rank.minimum, rank.maximum, rank.unit) == ("1", "256", "1 – 256 columns")
    assert (rank.title, rank.help, rank.basic) == ("Rank", "Width.", True)


def test_an_open_end_of_a_range_is_shown_as_open() -> None:
    rate = fields()["rate"]
    assert (rate.minimum, rate.unit) == (None, ">0 – 1")


def test_every_type_has_its_control() -> None:
    kinds = {name: field.kind for name, field in fields().items()}
    assert kinds == {
        "rank": "number", "rate": "number", "epochs": "number", "kind": "select",
        "twice": "checkbox", "names": "text",
    }  # fmt: skip
    assert [value for value, _title in fields()["kind"].choices] == ["linear", "cosine"]


def test_what_was_typed_comes_back_with_its_error() -> None:
    error = FieldError("rank", "Not {value}.", {"value": 512})
    (rank, *_others) = param_fields(ExampleParams, Values({"rank": "512"}, [error]))
    assert (rank.value, rank.error) == ("512", "Not 512.")


def test_a_complete_form_gives_every_parameter() -> None:
    sent = {
        COMPLETE: "1",
        "rank": "4",
        "rate": " 0.1 ",
        "epochs": "",
        "kind": "linear",
        "names": "q",
    }
    values = param_values(ExampleParams, sent)
    assert values == {
        "rank": "4", "rate": "0.1", "epochs": None, "kind": "linear", "twice": False, "names": "q",
    }  # fmt: skip


def test_a_short_form_leaves_the_rest_to_the_lab() -> None:
    assert param_values(ExampleParams, {"rank": "4"}) == {"rank": "4"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (5e-3, "0.005"), (1e-5, "1e-05"), (("q", "v"), "q, v"), (3, "3")],
)
def test_values_read_as_a_person_would_type_them(value: object, text: str) -> None:
    assert as_text(value) == text
