"""Artifacts in the layout of Hugging Face."""

import shutil
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.contract import LabContext, LabError
from labs.published import is_whole


def require_artifact(run: LabContext, name: str, stage: str) -> Path:
    """The folder of an artifact that an earlier stage of this run left."""
    folder = run.run_dir / "artifacts" / name
    if not is_whole(folder):
        raise LabError(
            "This stage needs the artifact “{name}”, which the stage “{stage}” makes. Run that stage first.",
            name=name,
            stage=stage,
        )
    return folder


def save_model(
    model: PreTrainedModel,
    dtype: torch.dtype,
    tokenizer: PreTrainedTokenizerBase,
    base: Path,
    folder: Path,
) -> None:
    """Write weights as safetensors in the given format, with the tokenizer and the base's generation config."""
    nn.Module.to(model, dtype=dtype)
    model.config.dtype = dtype
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    published = base / "generation_config.json"
    if published.is_file():
        # The loaded model was set to greedy decoding; what is handed on keeps its own settings.
        shutil.copyfile(published, folder / "generation_config.json")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
