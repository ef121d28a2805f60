"""What is refused before a GGUF file is written, and what llama.cpp's absence or death says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from labs.contract import LabError, Stopped
from labs.gguf import llama as llama_module
from labs.gguf import refuse_gguf, refuse_gguf_folder, write_gguf
from labs.gguf.cutting import GPT2, LLAMA3, QWEN2, cutting_rule
from labs.gguf.kinds import more_bits, stored_as
from labs.gguf.llama import Llama, unusable
from labs.gguf.vocabulary import NO_MERGE, read_vocabulary
from labs.models import read_facts
from tests.labs.families import make_family

BASE = Path("labs/bundled/models/base")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the bundled base that a test may change."""
    return Path(shutil.copytree(BASE, tmp_path / "model"))


def split(expression: str) -> dict[str, Any]:
    pattern = {"Regex": expression}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "use_regex": use_regex}


def tokenizer(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    bpe = {"type": "BPE", "vocab": {"Ġ": 0, "Ċ": 1}, "merges": [["Ġ", "Ċ"]], **more}
    return {"model": bpe, "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


@pytest.mark.parametrize(
    ("stored", "rule"),
    [
        (tokenizer(byte_level(True)), "gpt-2"),
        (tokenizer(split(QWEN2), byte_level(False)), "qwen2"),
        (tokenizer(split(LLAMA3), byte_level(False), ignore_merges=True), "llama-bpe"),
        (tokenizer(split(LLAMA3), byte_level(False)), "smaug-bpe"),
        (tokenizer({"type": "Digits", "individual_digits": True}, byte_level(True)), "smollm"),
        (tokenizer(byte_level(False), merges=[]), "gpt-2"),
    ],
)
def test_a_rule_is_known_by_its_expressions(stored: dict[str, Any], rule: str) -> None:
    assert cutting_rule(stored, "m") == rule


@pytest.mark.parametrize(
    "stored",
    [
        tokenizer(byte_level(False)),
        tokenizer(split(QWEN2), byte_level(True)),
        tokenizer(split(QWEN2.replace("{L}+", "{L}*")), byte_level(False)),
        tokenizer(split(QWEN2), byte_level(False), ignore_merges=True),
        tokenizer({**split(GPT2), "invert": True}, byte_level(False)),
        tokenizer({**byte_level(True), "add_prefix_space": True}),
        tokenizer({"type": "Metaspace"}),
        tokenizer(byte_level(True), byte_fallback=True),
        tokenizer(byte_level(True), vocab={"▁": 0}),
        {**tokenizer(byte_level(True)), "normalizer": {"type": "Lowercase"}},
        {"model": {"type": "Unigram"}},
    ],
)
def test_a_rule_that_differs_in_one_letter_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(LabError, match="“m”"):
        cutting_rule(stored, "m")


def test_an_unknown_rule_is_refused_before_anything_is_written(model: Path) -> None:
    stored = json.loads((model / "tokenizer.json").read_text())
    stored["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+"
    (model / "tokenizer.json").write_text(json.dumps(stored))
    refused = refuse_gguf_folder(model, "f16")
    assert refused is not None
    assert "cuts text by a rule" in str(refused)
    with pytest.raises(LabError, match="cuts text by a rule"):
        write_gguf(model, model / "m.gguf", "f16", "m")
    assert not list(model.glob("*.gguf*"))


def test_the_bundled_models_are_accepted() -> None:
    assert refuse_gguf_folder(BASE, "q4_k_m") is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden_act": "relu"}, "activation silu"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "“dynamic”"),
        ({"model_type": "phi3"}, "type phi3"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized already (gptq)"),
        ({"vocab_size": 2000}, "only 2000 rows"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    model: Path, changes: dict[str, Any], sentence: str
) -> None:
    change(model / "config.json", **changes)
    assert sentence in str(refuse_gguf_folder(model, "q8_0"))


def test_other_families_and_types_are_refused_by_what_works(tmp_path: Path) -> None:
    facts = read_facts(make_family("bloom", tmp_path / "bloom"))
    assert "qwen2, llama, mistral, qwen3, gpt2" in str(refuse_gguf(facts, "f16"))
    assert "f16, q8_0, q4_0, q4_k_m" in str(refuse_gguf(read_facts(BASE), "q3_k_s"))
    biased = replace(read_facts(BASE), model_type="qwen3")
    assert "_proj.bias of this model" in str(refuse_gguf(biased, "f16"))


def test_a_cut_off_write_leaves_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labs.gguf.writer.packed", fail)
    with pytest.raises(OSError, match="No space left"):
        write_gguf(model, model / "m.gguf", "f16", "m")
    assert not [path for path in model.iterdir() if ".gguf" in path.name]


def test_a_stop_ends_the_writing(model: Path) -> None:
    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        write_gguf(model, model / "m.gguf", "f16", "m", check=stop)
    assert not [path for path in model.iterdir() if ".gguf" in path.name]


def test_the_licence_is_that_of_the_models_card(model: Path) -> None:
    (model / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n\n# Model\n")
    write_gguf(model, model / "m.gguf", "f16", "m")
    said = GGUFReader(model / "m.gguf").fields["general.license"].contents()
    assert said == "cc-by-4.0"


def test_special_tokens_and_unused_ids_keep_their_places(model: Path) -> None:
    change(model / "tokenizer_config.json", bos_token={"content": "<|im_start|>"})
    template = {"type": "TemplateProcessing"}
    template["single"] = [{"SpecialToken": {"id": "<|im_start|>"}}, {"Sequence": {"id": "A"}}]  # type: ignore[assignment]
    change(model / "tokenizer.json", post_processor={"type": "Sequence", "processors": [template]})
    found = read_vocabulary(model, 2050)
    assert (found.specials, found.add_bos, found.add_eos) == (
        {"bos": 1, "eos": 2, "pad": 0},
        True,
        False,
    )
    assert (found.types[:4], found.types[2048:]) == ([3, 3, 3, 1], [5, 5])
    assert found.tokens[2049] == "[PAD2049]"
    assert found.merges != [NO_MERGE]


@pytest.mark.parametrize(
    ("kind", "role", "row", "stored"),
    [
        ("q4_k_m", "ffn_up", 512, "Q4_K"),
        ("q4_k_m", "ffn_up", 96, "Q5_0"),
        ("q4_k_m", "output", 96, "Q8_0"),
        ("q4_k_m", "attn_qkv", 96, "Q5_1"),
        ("q4_k_m", "ffn_up", 24, "F16"),
        ("q4_0", "output", 512, "Q6_K"),
        ("q4_0", "ffn_up", 512, "Q4_0"),
        ("q8_0", "output", 24, "F16"),
        ("f16", "output", 24, "F16"),
    ],
)
def test_rows_that_blocks_do_not_fill_fall_back(
    kind: str, role: str, row: int, stored: str
) -> None:
    assert stored_as(kind, role, 0, 32, row) == stored


def test_more_bits_are_at_both_ends_and_every_third_between() -> None:
    assert [i for i in range(16) if more_bits(i, 16)] == [0, 1, 4, 7, 10, 13, 14, 15]


def test_an_illegal_instruction_is_told_and_takes_nobody_down(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native build of llama.cpp dies by it on some virtual machines."""
    monkeypatch.setattr(
        llama_module, "PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    )
    with pytest.raises(LabError, match=r"signal 4 .* GGML_NATIVE=OFF"):
        Llama(model / "any.gguf")


def test_where_llama_cpp_is_not_installed_a_sentence_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = "import sys; sys.modules['xllamacpp'] = None; import xllamacpp"
    monkeypatch.setattr(llama_module, "PROBE", hidden)
    with pytest.raises(LabError):
        Llama(model / "another.gguf")
    absent = "ModuleNotFoundError: No module named 'xllamacpp'"
    assert "not installed" in str(unusable(1, absent))


def test_a_file_that_is_no_gguf_is_refused(model: Path) -> None:
    with pytest.raises(LabError, match=r"llama\.cpp"):
        Llama(model / "model.safetensors")
