"""What a model folder is refused for, without loading it."""

import contextlib
import json
import shutil
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from labs.models import Matrix, ModelRefused, read_facts
from tests.labs.families import make_family
from tests.labs.tiny import make_network


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(path: Path, **changes: Any) -> None:
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, **changes}))


def test_the_facts_are_those_of_the_model(tiny_model: Path) -> None:
    facts = read_facts(tiny_model)
    network = make_network()
    assert facts.parameters == sum(p.numel() for p in network.parameters())
    assert facts.bytes == 4 * facts.parameters
    assert (facts.layers, facts.heads, facts.kv_heads, facts.head_dim) == (2, 4, 2, 16)
    assert facts.biases == {
        "self_attn.q_proj": 2 * 64,
        "self_attn.k_proj": 2 * 32,
        "self_attn.v_proj": 2 * 32,
    }
    assert facts.matrices["k_proj"] == Matrix(count=2, outputs=32, inputs=64)
    assert (facts.dtype, facts.tied, facts.has_chat_template) == ("float32", True, True)


def test_gpt2_keeps_inputs_first_and_has_two_matrices_of_one_name(tmp_path: Path) -> None:
    folder = make_family("gpt2", tmp_path / "gpt2")
    facts = read_facts(folder)
    assert facts.matrices == {
        "c_attn": Matrix(count=2, outputs=192, inputs=64),
        "attn.c_proj": Matrix(count=2, outputs=64, inputs=64),
        "c_fc": Matrix(count=2, outputs=256, inputs=64),
        "mlp.c_proj": Matrix(count=2, outputs=64, inputs=256),
    }
    weights = load_file(folder / "model.safetensors")
    # Older files keep the causal mask, under a name that sounds like a bias.
    masks = {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(2)}
    save_file({**weights, **masks}, folder / "model.safetensors", {"format": "pt"})
    again = read_facts(folder)
    assert (again.biases, again.parameters) == (facts.biases, facts.parameters)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="no model folder “nothing”"):
        read_facts(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
        ("model.safetensors", "has no model.safetensors"),
    ],
)
def test_each_part_must_be_there(model: Path, file: str, sentence: str) -> None:
    (model / file).unlink()
    with pytest.raises(ModelRefused, match=sentence.replace(".", r"\.")):
        read_facts(model)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_refused_unopened(model: Path, name: str) -> None:
    (model / "model.safetensors").rename(model / name)
    with pytest.raises(ModelRefused, match="pickled weights only"):
        read_facts(model)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_with_code_of_its_own_is_refused(model: Path, file: str) -> None:
    change(model / file, auto_map={"AutoModelForCausalLM": "evil.Evil"})
    (model / "evil.py").write_text("raise SystemExit('it was imported')")
    with pytest.raises(ModelRefused, match="needs code of its own"):
        read_facts(model)


def test_other_kinds_of_models_are_refused(model: Path) -> None:
    change(model / "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(ModelRefused, match="no causal language model"):
        read_facts(model)


def test_a_config_without_sizes_is_refused(model: Path) -> None:
    change(model / "config.json", hidden_size="large")
    with pytest.raises(ModelRefused, match="does not state hidden_size"):
        read_facts(model)


@pytest.mark.parametrize("kept", [0, 4, 8, 200, 20_000])
def test_a_torn_weight_file_is_damaged(model: Path, kept: int) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelRefused, match="is damaged"):
        read_facts(model)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]},
        {"dtype": "NOPE", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": None, "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        "nothing",
    ],
)
def test_an_absurd_tensor_is_damage_not_an_allocation(model: Path, entry: Any) -> None:
    header = json.dumps({"x": entry}).encode()
    content = struct.pack("<Q", len(header)) + header + b"\0\0\0\0"
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelRefused, match="is damaged"):
        read_facts(model)


@pytest.mark.parametrize("shard", ["../../etc/passwd", "missing.safetensors"])
def test_an_index_may_name_only_files_beside_it(model: Path, shard: str) -> None:
    index = {"weight_map": {"x": shard}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelRefused, match="lacks the file"):
        read_facts(model)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_header_can_break_the_reader(tiny_model: Path, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tiny_model / file, Path(folder) / file)
        (Path(folder) / "model.safetensors").write_bytes(content)
        with contextlib.suppress(ModelRefused):
            read_facts(Path(folder))
