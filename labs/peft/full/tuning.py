"""Full fine-tuning as the shared stages need it."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from labs.common.artifacts import save_model
from labs.common.loading import DTYPES, load_model, load_tokenizer
from labs.common.state import matrices
from labs.common.tuning import Tuning
from labs.contract import N_, Column, LabContext
from labs.models import read_facts
from labs.peft.full.spec import LAB, FullParams


class FullTuning(Tuning[FullParams, PreTrainedModel]):
    """Every weight; what is kept is a whole model."""

    lab = LAB
    kept = "model"
    library = "transformers"
    trained_part = N_("Trained weights")

    def __init__(self, params: FullParams, run: LabContext) -> None:
        super().__init__(params)
        self.folder = run.base_model

    def attach(self, base: PreTrainedModel) -> PreTrainedModel:
        """All weights in float32; autocast computes in the run's precision."""
        self.checkpoint_gradients(base)
        nn.Module.to(base, dtype=torch.float32)
        return base.requires_grad_(True)

    def save(self, model: PreTrainedModel, folder: Path, base_name: str) -> None:
        """A model folder as the hub has them, in the base's own format."""
        stored = getattr(torch, read_facts(self.folder).dtype, torch.float32)
        save_model(model, stored, load_tokenizer(self.folder), self.folder, folder)

    def load(self, base: PreTrainedModel, folder: Path) -> PreTrainedModel:
        """The saved model; nothing of the base is left in it."""
        return load_model(folder, str(base.device), base.dtype)

    def load_tuned(self, run: LabContext, folder: Path) -> PreTrainedModel:
        """The saved model in the run's precision, without loading the base first."""
        return load_model(folder, run.device, DTYPES[self.params.precision])

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Matrices, as AdamW's authors did; biases and norms are left alone."""
        return matrices(name, parameter)

    def show_attached(self, model: PreTrainedModel, run: LabContext) -> None:
        """Where the weights are."""
        kinds: dict[str, list[int]] = {}
        for name, parameter in model.named_parameters():
            kinds.setdefault(name.split(".")[-2], []).append(parameter.numel())
        total = sum(map(sum, kinds.values()))
        columns = [
            Column("module", "Module"),
            Column("count", "Tensors"),
            Column("trained", "Trained"),
            Column("share", "Share of the model", "fraction"),
        ]
        rows = [[kind, len(s), sum(s), sum(s) / total] for kind, s in kinds.items()]
        run.table(
            "trainable_share", "What full fine-tuning trains, module by module", columns, rows
        )
