"""Every lab there is holds together: stages exist, metrics are told apart, presets parse."""

from pathlib import Path

import pytest

from labs import registry
from labs.contract import Lab, LabError
from labs.fields import allowed, parse

LABS = registry.all_labs()


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.slug)
def test_a_lab_holds_together(lab: Lab) -> None:
    assert registry.get(lab.slug) is lab
    keys = [metric.key for metric in lab.metrics]
    assert len(keys) == len(set(keys))
    assert lab.headline in keys
    assert len({stage.name for stage in lab.stages}) == len(lab.stages)
    for preset in lab.presets.values():
        lab.params.model_validate(preset)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.slug)
def test_each_stage_is_a_function_of_its_own_name(lab: Lab) -> None:
    for stage in lab.stages:
        assert stage.load().__name__ == stage.name


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.slug)
def test_every_parameter_has_title_help_unit_and_range(lab: Lab) -> None:
    for name, field in lab.params.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert {"unit", "basic"} <= set(extra) <= {"unit", "basic", "resource"}, name
        assert allowed(lab.params, name), name


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.slug)
def test_theory_is_there_in_both_languages(lab: Lab) -> None:
    for name in ("theory.md", "theory.zh-Hant.md"):
        text = (registry.folder(lab) / name).read_text(encoding="utf-8")
        assert text.startswith("# "), name
        assert all(source.arxiv in text for source in lab.sources), name


def test_an_unknown_lab_is_refused_with_the_nearest() -> None:
    with pytest.raises(LabError, match="Did you mean: lora"):
        registry.get("lorra")


def test_the_code_version_follows_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = registry.code_version("lora")
    assert len(version) == 12
    registry.code_version.cache_clear()
    assert registry.code_version("lora") == version
    registry.code_version.cache_clear()
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    (tmp_path / "contract.py").write_text("changed")
    assert registry.code_version("lora") != version
    registry.code_version.cache_clear()


def test_all_wrong_fields_are_told_at_once() -> None:
    lab = registry.get("lora")
    params, wrong = parse(lab.params, {"rank": 0, "steps": "many", "colour": "red"})
    assert params is None
    assert set(wrong) == {"rank", "steps", "colour"}
