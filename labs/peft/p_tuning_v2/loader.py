"""Load a prompt with its classification head, without Bunsen. The model card shows this file."""

import json
from pathlib import Path

from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel


def load_classifier(
    model: PreTrainedModel, folder: str | Path = "."
) -> tuple[PeftModel, list[str]]:
    """The model whose last logits are scores of labels, and the labels in their order."""
    labels: list[str] = json.loads(Path(folder, "labels.json").read_text(encoding="utf-8"))
    weight = load_file(Path(folder, "head.safetensors"))["weight"].to(model.device, model.dtype)
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight)
    head.weight.data.copy_(weight)
    model.set_output_embeddings(head)
    return PeftModel.from_pretrained(model, str(folder)).eval(), labels
