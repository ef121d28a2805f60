"""A small library on the disk and in the tables: one model, one dataset, one student."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.models import Dataset, LanguageModel, Run, User
from app.runs.submit import Submission, submit
from labs.datasets import fingerprint
from tests.support.factories import make_dataset, make_model, make_user

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 16,
}
# One word a letter, an end token, and one for what is neither.
WORDS = {"<unk>": 0, "<end>": 1, "a": 2, "b": 3}
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "<unk>"},
}  # fmt: skip
TOKENIZER_CONFIG = {
    "eos_token": "<end>",
    "unk_token": "<unk>",
    "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
}
NAMES = ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.up_proj.weight")


def write_model(folder: Path) -> Path:
    """A model folder whose headers say all that a preflight reads."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    tensors = {
        name: {"dtype": "F32", "shape": [8, 8], "data_offsets": [at * 256, at * 256 + 256]}
        for at, name in enumerate(NAMES)
    }
    header = json.dumps(tensors).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(512)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@dataclass
class Library:
    """What a student can start a run from."""

    session: Session
    student: User
    model: LanguageModel
    dataset: Dataset
    params: dict[str, Any] = field(default_factory=lambda: {"steps": 10})

    def submission(self, **values: Any) -> Submission:
        wanted = {
            "lab": "lora",
            "params": self.params,
            "base_model": self.model.name,
            "dataset": self.dataset.name,
        }
        return Submission(**{**wanted, **values})

    def submit(self, **values: Any) -> Run:
        return submit(self.session, self.student, self.submission(**values))


@pytest.fixture
def library(session: Session, tmp_path: Path) -> Library:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    folder = write_model(tmp_path / "model")
    return Library(
        session,
        make_user(session),
        make_model(session, name="small", path=str(folder)),
        make_dataset(
            session,
            name="letters",
            path=str(rows),
            bytes=rows.stat().st_size,
            sha256=fingerprint(rows),
        ),
    )
