"""P-tuning v2 as the shared stages need it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, PrefixTuningConfig
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labs.common.data import Prepared, Question, prepare
from labs.common.formatting import Encoded
from labs.common.latency import Latency, measure_latency
from labs.common.loading import CausalModel, load_tokenizer, pad_id
from labs.common.loss import autocast
from labs.common.peft_tuning import ADAPTER
from labs.common.prompt_learning import DeepPrompts, vectors_of
from labs.common.stages.switch import PeftTasks
from labs.common.tuning import own_loader
from labs.contract import N_, Column, Json, LabContext
from labs.peft.p_tuning_v2 import loader
from labs.peft.p_tuning_v2.classification import (
    LabelRows,
    TaskHead,
    labels_of,
    named,
    time_label,
    with_head,
)
from labs.peft.p_tuning_v2.spec import LAB, PTuningV2Params

HEAD = "head.safetensors"
LABELS = "labels.json"
# A task is its prompt and its head: a switch that leaves the head scores labels of another task.
HEADS = """\
heads = {}
for name in ("first", "second"):
    weight = load_file(f"{name}-task/head.safetensors")["weight"]
    heads[name] = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    heads[name].weight.data.copy_(weight)
base.set_output_embeddings(heads["first"])
"""
HEAD_IMPORTS = "from safetensors.torch import load_file\nfrom torch import nn\n"


class PTuningV2(DeepPrompts[PTuningV2Params]):
    """Free keys and values in every layer; the language model's head, or one for labels."""

    lab = LAB
    trained_part = N_("Prompts and head")

    def __init__(self, params: PTuningV2Params, run: LabContext) -> None:
        super().__init__(params)
        self.labels = labels_of(run.dataset) if params.head == "classification" else ()

    def config(self, base: PreTrainedModel) -> PrefixTuningConfig:
        """The same parameters in peft's words: a prefix without its projection."""
        return PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.params.virtual_tokens,
            prefix_projection=False,
        )

    def load_base(self, run: LabContext) -> PreTrainedModel:
        """The base; with labels, under a head that knows nothing yet."""
        return self.prepare(super().load_base(run))

    def prepare(self, base: PreTrainedModel) -> PreTrainedModel:
        """With labels, a new head in place of the output layer."""
        return with_head(base, len(self.labels)) if self.labels else base

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """Fresh prompts; the head is freed again, which peft freezes with the base."""
        model = super().attach(base)
        if self.labels:
            head_of(model).weight.requires_grad_(True)
        return model

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """The head is pulled, the prompts are not: a key of zero still takes attention."""
        return "prompt_encoder" not in name

    def save(self, model: PeftModel, folder: Path, base_name: str) -> None:
        """The prompt in peft's layout; beside it the head and what its rows mean."""
        super().save(model, folder, base_name)
        if self.labels:
            weight = head_of(model).weight.detach().cpu().contiguous()
            save_file({"weight": weight}, folder / HEAD)
            (folder / LABELS).write_text(json.dumps(self.labels), encoding="utf-8")

    def load(self, base: PreTrainedModel, folder: Path) -> PeftModel:
        """The base with a saved prompt, and the saved head if there is one."""
        model = super().load(self.prepare(base), folder)
        if self.labels:
            head_of(model).load_state_dict(load_file(folder / HEAD))
        return model

    def loading(self, base_name: str) -> str:
        """The lines of the model card."""
        if not self.labels:
            return super().loading(base_name)
        return own_loader(loader, "model, labels = load_classifier(model)", base_name)

    def serving(self, base_name: str) -> str:
        """With labels, each task brings its head."""
        lines = super().serving(base_name)
        return f"{HEAD_IMPORTS}{lines}{HEADS}" if self.labels else lines

    def rows(self, run: LabContext) -> Prepared:
        """With labels, rows whose only target is the label."""
        if not self.labels:
            return super().rows(run)
        tokenizer, length = load_tokenizer(run.base_model), self.params.max_length
        return prepare(run.dataset, tokenizer, length, LabelRows(self.labels))

    def learned(self, tokenizer: PreTrainedTokenizerBase, row: Encoded) -> str:
        """With labels, the name of the one that the row ends with."""
        return self.labels[row.ids[-1]] if self.labels else super().learned(tokenizer, row)

    def ask(
        self,
        model: CausalModel,
        tokenizer: PreTrainedTokenizerBase,
        questions: Sequence[Question],
        device: str,
    ) -> list[str]:
        """With labels, the best one of each question in a single pass."""
        if not self.labels:
            return super().ask(model, tokenizer, questions, device)
        prompts = [question.prompt for question in questions]
        with autocast(self.params.precision, device):
            pad, at_once = pad_id(tokenizer), self.params.evaluated_at_once
            return named(model, prompts, self.labels, pad, device, at_once)

    def latency(
        self,
        model: CausalModel,
        prompts: Sequence[Sequence[int]],
        device: str,
        check: Callable[[], None],
    ) -> Latency:
        """With labels, the time of one pass: a label counts as one token."""
        if not self.labels:
            return super().latency(model, prompts, device, check)
        return measure_latency(model, prompts, device, check, time_label, new_tokens=1)

    def show_attached(self, model: PeftModel, run: LabContext) -> None:
        """The numbers of the prompts and of the head."""
        vectors = vectors_of(model).numel()
        head = head_of(model).weight.numel() if self.labels else 0
        columns = [Column("what", "What"), Column("value", "Numbers")]
        rows = [[N_("Prompts of all layers"), vectors], [N_("Classification head"), head]]
        run.table("trainable_share", "What P-tuning v2 trains", columns, rows)

    def after_training(self, model: PeftModel, run: LabContext) -> Json:
        """What the labels are, in the order of the head's rows."""
        return {"labels": list(self.labels)} if self.labels else {}


class LabelTasks(PeftTasks):
    """Prompts on one base, each with its own head."""

    def __init__(self, base: PreTrainedModel, folder: Path) -> None:
        super().__init__(base, folder)
        self.base = base
        self.heads: dict[str, TaskHead] = {}
        self._read(folder, ADAPTER)
        self.use(ADAPTER)

    def add(self, folder: Path, name: str) -> None:
        """Load one more prompt and its head."""
        super().add(folder, name)
        self._read(folder, name)

    def use(self, name: str) -> None:
        """Put a prompt and its head in place."""
        super().use(name)
        self.base.set_output_embeddings(self.heads[name])

    def _read(self, folder: Path, name: str) -> None:
        weight = load_file(folder / HEAD)["weight"]
        head = TaskHead(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            head.weight.copy_(weight)
        self.heads[name] = head.to(self.base.device)


def head_of(model: PeftModel) -> TaskHead:
    """The classification head of a model that has one."""
    base: Any = model.get_base_model()
    found = base.get_output_embeddings()
    assert isinstance(found, TaskHead)
    return found
