"""Model folders that somebody made to break us: each ends in a sentence, quickly."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from labs import bundled, model_files
from labs.model_files import ModelRefused
from labs.models import read_facts


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def write_header(model: Path, header: str, data: bytes = b"") -> None:
    content = header.encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + data)


def entry(*shape: object, offsets: tuple[int, int] = (0, 4), dtype: str = "F32") -> str:
    dumped = json.dumps({"dtype": dtype, "shape": shape, "data_offsets": offsets})
    return dumped


@pytest.mark.parametrize(
    "header",
    [
        '{"x": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 4]}}',
        '{"x": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}',
        '{"x": {"dtype": "F32", "shape": [1], "data_offsets": [NaN, -Infinity]}}',
        '{"x": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        '{"x": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}',
        f'{{"x": {entry(*[9 * 10**4000] * 300)}}}',
        f'{{"x": {entry(*[1] * 9)}}}',
        f'{{"\\ud800": {entry(1)}}}',
        f'{{"\\u0000": {entry(1)}}}',
        f'{{"": {entry(1)}}}',
        f'{{"{"x" * 300}": {entry(1)}}}',
        f'{{"x": {entry(1)}, "y": {entry(1)}}}',
        f'{{"x": {entry(0, offsets=(0, 0))}}}',
        f'{{"x": {entry(0, offsets=(4, 4))}}}',
        "[" * 100_000,
    ],
)
def test_a_header_that_lies_is_damage(model: Path, header: str) -> None:
    write_header(model, header, b"\0" * 4)
    with pytest.raises(ModelRefused, match="is damaged") as refused:
        read_facts(model)
    str(refused.value).encode()


def test_what_holds_for_us_holds_for_safetensors(tiny_model: Path) -> None:
    found = model_files.read_tensors(tiny_model)
    with safe_open(tiny_model / "model.safetensors", "pt") as stored:
        slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
    assert {name: (t.dtype, list(t.shape)) for name, t in found.items()} == {
        name: (each.get_dtype(), each.get_shape()) for name, each in slices.items()
    }


def test_too_many_tensors_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "MOST_TENSORS", 10)
    with pytest.raises(ModelRefused, match="too many tensors"):
        read_facts(model)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization_config": [1]},
        {"quantization_config": {"quant_method": "\ud800"}},
        {"quantization_config": "x" * 1000},
    ],
)
def test_any_kind_of_quantization_is_known_as_one(model: Path, changes: dict[str, Any]) -> None:
    change(model / "config.json", **changes)
    assert read_facts(model).quantization == "unknown"


@pytest.mark.parametrize(
    "architecture", ["\ud800ForCausalLM", "\0ForCausalLM", "x" * 500 + "ForCausalLM", 5, None, [1]]
)
def test_an_architecture_is_a_name(model: Path, architecture: object) -> None:
    change(model / "config.json", architectures=[architecture])
    with pytest.raises(ModelRefused, match="architecture is not stated"):
        read_facts(model)


@pytest.mark.parametrize("number", [10**400, -1, 0, True, "8", 1.5, None])
@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_size_is_a_number_that_a_model_may_have(model: Path, field: str, number: object) -> None:
    change(model / "config.json", **{field: number})
    with pytest.raises(ModelRefused, match=f"does not state {field}"):
        read_facts(model)


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_huge(path: Path) -> None:
    os.truncate(path, 10 << 30)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("make", [as_pipe, as_link_to_itself, as_folder, as_huge])
def test_what_is_no_plain_file_is_neither_waited_for_nor_loaded(
    model: Path, make: Callable[[Path], None], file: str
) -> None:
    make(model / file)
    if file == "tokenizer_config.json" and make is not as_huge:
        assert read_facts(model).layers == 2  # it is as if it were not there
    else:
        with pytest.raises(ModelRefused):
            read_facts(model)


def test_a_folder_that_leads_to_itself_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ModelRefused, match="no model folder"):
        read_facts(tmp_path / "loop")


def test_the_bundled_models_pass(subtests: pytest.Subtests) -> None:
    for name, folder in bundled.models().items():
        with subtests.test(name):
            assert read_facts(folder).name == name
