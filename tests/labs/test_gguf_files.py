"""A GGUF file computes what its model computes: llama.cpp against transformers, token by token."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from labs.gguf import GGUF_TYPES, expected_bytes, refuse_gguf, write_gguf
from labs.gguf import tensors as gguf_tensors
from labs.gguf.llama import Llama
from labs.models import read_facts
from tests.labs.gguf_models import MODELS, make_folder

BUNDLED = Path("labs/bundled/models")
ASKED = (
    "List code, team, room with bars.\n\nThis is Noah in room 845. The user name needs a reset.",
    "What's up there?  It'll be 12345 — naïve, ok.\n\n\tNext line",
    "請列出代號、單位與教室。2026 年 11 月 22 日,電腦壞了。",
)


def continued(folder: Path, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Greedy continuations by transformers.

    llama.cpp ends at <|endoftext|> too, by its name; so does this.
    """
    auto: Any = AutoModelForCausalLM
    model = auto.from_pretrained(folder).eval()
    asked = {"max_new_tokens": tokens, "do_sample": False, "eos_token_id": [0, 2]}
    answers = [model.generate(torch.tensor([list(ids)]), **asked)[0] for ids in prompts]
    return [answer[len(ids) :].tolist() for ids, answer in zip(prompts, answers, strict=True)]


@pytest.fixture(scope="module")
def base_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundled base in every type."""
    folder = tmp_path_factory.mktemp("gguf")
    files = {kind: folder / f"{kind}.gguf" for kind in GGUF_TYPES}
    for kind, path in files.items():
        write_gguf(BUNDLED / "base", path, kind, "base", {"description": "A clerk"})
    return files


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_llama_cpp_answers_as_transformers_does(base_files: dict[str, Path], kind: str) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(BUNDLED / "base")
    chats = [[{"role": "user", "content": text}] for text in ASKED]
    prompts = [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        for chat in chats
    ]
    expected = continued(BUNDLED / "base", prompts, 24)
    with Llama(base_files[kind]) as llama:
        by_ids = [llama.greedy(ids, 24) for ids in prompts]
        by_template = [llama.greedy(chat, 24) for chat in chats]
    assert [list(answer.ids) for answer in by_ids] == expected
    assert [list(answer.ids) for answer in by_template] == expected
    assert [answer.prompt_tokens for answer in by_template] == [len(ids) for ids in prompts]
    assert by_template[0].text == "ACC | Accounts | 845"
    assert by_template[0].stopped


@pytest.mark.parametrize("kind", ["q4_0", "q4_k_m"])
def test_four_bits_still_answer(base_files: dict[str, Path], kind: str) -> None:
    with Llama(base_files[kind]) as llama:
        answer = llama.greedy([{"role": "user", "content": ASKED[0]}], 24)
    assert answer.text == "ACC | Accounts | 845"


def test_token_ids_are_those_of_the_models_tokenizer(base_files: dict[str, Path]) -> None:
    """Our own tokenizer, which the known converter refuses; NFC text in many scripts and spaces."""
    tokenizer: Any = AutoTokenizer.from_pretrained(BUNDLED / "base")
    rows = (Path("labs/bundled/datasets") / "campus").rglob("*.jsonl")
    texts = [line for path in rows for line in path.read_text(encoding="utf-8").splitlines()[:30]]
    texts += [
        *ASKED,
        "  \n\n \t x",
        "don't DON'T we'LL",
        "½ ٣ Ⅷ 12 345",
        "<|im_start|>user\nà<|im_end|>",
    ]
    assert len(texts) > 30
    with Llama(base_files["f16"]) as llama:
        assert [llama.tokens(text) for text in texts] == [
            tokenizer(text, add_special_tokens=False).input_ids for text in texts
        ]


@pytest.mark.parametrize("name", MODELS)
def test_every_family_is_computed_equally(name: str, tmp_path: Path) -> None:
    """Rotary order, biases, head size, scaled positions, tied output: exact greedy text of float32."""
    folder = make_folder(name, tmp_path / "model")
    dice = torch.Generator().manual_seed(0)
    prompts = [torch.randint(3, 259, (n,), generator=dice).tolist() for n in (3, 40, 90)]
    file = write_gguf(folder, tmp_path / "model.gguf", "f32", name)
    with Llama(file.path) as llama:
        answers = [list(llama.greedy(ids, 16).ids) for ids in prompts]
    assert answers == continued(folder, prompts, 16)


def test_without_the_rotary_order_the_text_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the law above is known to see it."""
    folder = make_folder("llama", tmp_path / "model")
    monkeypatch.setattr(gguf_tensors, "rotary_order", lambda rows, heads: torch.arange(rows))
    file = write_gguf(folder, tmp_path / "model.gguf", "f32", "wrong")
    prompt = list(range(3, 60))
    with Llama(file.path) as llama:
        assert [list(llama.greedy(prompt, 16).ids)] != continued(folder, [prompt], 16)


@settings(deadline=None)
@given(heads=st.integers(1, 8), half=st.integers(1, 16))
def test_the_rotary_order_brings_the_halves_of_a_head_together(heads: int, half: int) -> None:
    order = gguf_tensors.rotary_order(2 * heads * half, heads).tolist()
    assert sorted(order) == list(range(2 * heads * half))
    pairs = zip(order[::2], order[1::2], strict=True)
    assert all(second - first == half and first // half % 2 == 0 for first, second in pairs)


@pytest.mark.parametrize("kind", GGUF_TYPES)
def test_the_size_is_the_formulas_and_the_header(kind: str, tmp_path: Path) -> None:
    """The student's rows of 128 fill no block of 256, so its K-quants fall back."""
    folder = BUNDLED / "student"
    written = write_gguf(folder, tmp_path / "model.gguf", kind, "student")
    assert written.bytes == expected_bytes(read_facts(folder), kind) + written.header_bytes
    assert written.bytes == written.path.stat().st_size
    reader = GGUFReader(written.path)
    assert reader.data_offset == written.header_bytes
    assert sum(int(each.n_elements) for each in reader.tensors) == written.parameters


@pytest.mark.parametrize("name", ["gpt2", "llama, biases, own head size", "qwen3"])
def test_the_size_law_holds_for_rows_that_no_block_divides(name: str, tmp_path: Path) -> None:
    folder = make_folder(name, tmp_path / "model")
    facts = read_facts(folder)
    for kind in GGUF_TYPES:
        written = write_gguf(folder, tmp_path / f"{kind}.gguf", kind, name)
        padding = 32 * written.tensors
        assert 0 <= written.bytes - written.header_bytes - expected_bytes(facts, kind) < padding
        assert refuse_gguf(facts, kind) is None


def test_the_mix_of_q4_k_m(base_files: dict[str, Path]) -> None:
    """Six bits for the output and for values and down projections of every third layer."""
    stored = {t.name: t.tensor_type.name for t in GGUFReader(base_files["q4_k_m"]).tensors}
    assert stored["token_embd.weight"] == "Q6_K"
    assert {n for n, kind in stored.items() if kind == "Q6_K" and n.startswith("blk")} == {
        f"blk.{layer}.{role}.weight" for layer in (2, 3) for role in ("attn_v", "ffn_down")
    }
    assert {kind for name, kind in stored.items() if "norm" in name or "bias" in name} == {"F32"}


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q4_k_m"])
def test_the_stored_numbers_are_near_the_models(base_files: dict[str, Path], kind: str) -> None:
    """Read back by gguf's own code, within what the blocks allow."""
    from gguf.quants import dequantize
    from safetensors.numpy import load_file

    weights = load_file(BUNDLED / "base" / "model.safetensors")
    stored = {t.name: t for t in GGUFReader(base_files[kind]).tensors}
    allowed = {"Q8_0": 0.01, "Q6_K": 0.03, "Q4_K": 0.12, "Q4_0": 0.15}
    for gguf_name, name in (
        ("blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight"),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("token_embd.weight", "model.embed_tokens.weight"),
    ):
        tensor = stored[gguf_name]
        back = dequantize(tensor.data, tensor.tensor_type)
        error = np.linalg.norm(back - weights[name]) / np.linalg.norm(weights[name])
        assert 0 < error < allowed[tensor.tensor_type.name]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    described = {
        "description": "Sorts tickets",
        "license": "cc-by-4.0",
        "source": "https://example.org/base",
        "base_model": "base",
        "version": "0.1.0",
        "run": "r1",
    }
    write_gguf(BUNDLED / "base", tmp_path / "m.gguf", "q8_0", "Clerk", described)
    fields = GGUFReader(tmp_path / "m.gguf").fields
    said = {name: field.contents() for name, field in fields.items()}
    config = json.loads((BUNDLED / "base" / "config.json").read_text())
    expected = {
        "general.architecture": "qwen2",
        "general.name": "Clerk",
        "general.description": "Sorts tickets",
        "general.license": "cc-by-4.0",
        "general.source.url": "https://example.org/base",
        "general.base_model.count": 1,
        "general.base_model.0.name": "base",
        "general.version": "0.1.0",
        "general.quantized_by": "Bunsen",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "bunsen.run": "r1",
        "qwen2.context_length": config["max_position_embeddings"],
        "qwen2.block_count": config["num_hidden_layers"],
        "qwen2.rope.freq_base": 10_000.0,
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": (BUNDLED / "base" / "chat_template.jinja").read_text(),
    }
    assert {name: said.get(name) for name in expected} == expected
