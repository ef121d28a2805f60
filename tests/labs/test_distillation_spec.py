"""What teachers and students go together, and which layers make a student."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labs import bundled, registry
from labs.choices import WrongUse, choose_params
from labs.compression.distillation.choosing import chosen_layers, mapped_layers
from labs.compression.distillation.refusals import refuse_together
from labs.compression.distillation.spec import LAB, DistillationParams
from labs.contract import LabError, resource_kinds

MODELS = bundled.models()


def params(**changes: Any) -> DistillationParams:
    return DistillationParams.model_validate(changes)


def refused(student: Path, teacher: Path | None, **changes: Any) -> LabError | None:
    named = {} if teacher is None else {"teacher": teacher}
    return refuse_together(student, params(**changes), named)


def test_it_is_a_lab_whose_teacher_is_a_model() -> None:
    assert registry.get("distillation") is LAB
    assert resource_kinds(DistillationParams) == {"teacher": "model"}
    for changes in LAB.presets.values():
        given = params(**changes)
        assert refuse_together(MODELS["student"], given, {"teacher": MODELS["base"]}) is None


@pytest.mark.parametrize("teacher", ["base", "teacher"])
def test_bundled_models_go_together(teacher: str) -> None:
    assert refused(MODELS["student"], MODELS[teacher]) is None


@pytest.mark.parametrize(
    ("student", "teacher", "changes", "field", "told"),
    [
        ("student", None, {}, "teacher", "needs a teacher"),
        ("base", "base", {}, "teacher", "larger"),
        ("base", "student", {}, "teacher", "larger"),
        ("student", "base", {"student_from": "teacher_layers", "layers": "0, 4"}, "layers", "0 to 3"),
        ("student", "base", {"student_from": "teacher_layers", "layers": "4"}, "layers", "fewer"),
        ("student", "base", {"teacher_mode": "online", "relation_weight": 1, "relation_heads": 3}, "relation_heads", "divisor of 128"),
        ("student", "base", {"teacher_mode": "online", "relation_weight": 1, "relation_layer": 5}, "relation_layer", "no layer 5"),
        ("student", "base", {"max_length": 4096}, "max_length", "reads at most"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_at_its_field(
    student: str, teacher: str | None, changes: dict[str, Any], field: str, told: str
) -> None:
    error = refused(MODELS[student], MODELS[teacher] if teacher else None, **changes)
    assert error is not None
    assert (error.parameter, told in str(error)) == (field, True), str(error)


def copied(tmp_path: Path, change: Any, file: str) -> Path:
    folder = Path(shutil.copytree(MODELS["base"], tmp_path / "other"))
    stored = json.loads((folder / file).read_text(encoding="utf-8"))
    change(stored)
    (folder / file).write_text(json.dumps(stored), encoding="utf-8")
    return folder


def swap(stored: dict[str, Any]) -> None:
    vocabulary = stored["model"]["vocab"]
    first, second, *_ = vocabulary
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def test_the_same_size_of_vocabulary_is_not_the_same_vocabulary(tmp_path: Path) -> None:
    error = refused(MODELS["student"], copied(tmp_path, swap, "tokenizer.json"))
    assert error is not None
    assert "different vocabularies" in str(error)
    cut = {"student_from": "teacher_layers", "layers": "2"}
    assert refused(MODELS["student"], tmp_path / "other", **cut) is None


def test_only_what_cuts_and_numbers_text_is_compared(tmp_path: Path) -> None:
    other = copied(tmp_path, lambda stored: stored.update(post_processor=None), "tokenizer.json")
    assert refused(MODELS["student"], other) is None


def test_a_student_deeper_than_its_teacher_has_nowhere_to_map(tmp_path: Path) -> None:
    deep = copied(tmp_path, lambda stored: stored.update(num_hidden_layers=1), "config.json")
    online = {"teacher_mode": "online", "hidden_weight": 1.0}
    error = refused(MODELS["student"], deep, **online)
    assert error is not None
    assert error.parameter == "hidden_weight"
    assert refused(MODELS["student"], deep) is None


@pytest.mark.parametrize("layers", ["", "first", "-1", "0", "3,1", "1 1", "2.5"])
def test_what_is_no_choice_of_layers_is_told_what_is(layers: str) -> None:
    with pytest.raises(WrongUse, match="say how many"):
        choose_params(LAB, [f"layers={layers}"], None)


def test_layers_are_text_on_a_command_line_too() -> None:
    assert choose_params(LAB, ["layers=1"], None).model_dump()["layers"] == "1"


@pytest.mark.parametrize(
    "changes",
    [
        {"soft_weight": 0},
        {"hidden_weight": 1},
        {"relation_weight": 1},
        {"layers": "2, 0"},
        {"layers": "0"},
        {"layers": "first"},
        {"temperature": 0.5},
        {"teacher": ""},
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        params(**changes)


@given(st.integers(1, 60), st.integers(1, 60))
def test_evenly_spaced_layers_are_ascending_from_the_first_to_the_last(kept: int, of: int) -> None:
    if kept > of:
        with pytest.raises(ValueError, match="of"):
            chosen_layers(str(kept), of)
        return
    found = chosen_layers(str(kept), of)
    assert len(set(found)) == len(found) == kept
    assert list(found) == sorted(found)
    assert found[0] == 0
    assert kept == 1 or found[-1] == of - 1


def test_named_layers_are_taken_as_they_are() -> None:
    assert chosen_layers("0, 2", 4) == chosen_layers("0 2", 4) == (0, 2)
    assert chosen_layers("3,", 4) == (3,)


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_last_layer_imitates_the_last(student: int, teacher: int) -> None:
    if student > teacher:
        with pytest.raises(ValueError, match="mapped"):
            mapped_layers(student, teacher)
        return
    pairs = mapped_layers(student, teacher)
    assert pairs[-1] == (student, teacher)
    assert [own for own, _ in pairs] == list(range(1, student + 1))
    assert len({theirs for _, theirs in pairs}) == student
