"""BitFit as the shared stages need it."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.common.tuning import Tuning
from labs.contract import N_, Column, LabContext
from labs.peft.bitfit.parts import is_chosen
from labs.peft.bitfit.spec import LAB, BitFitParams

DELTA = "bias_delta.safetensors"
DESCRIPTION = "bitfit.json"


class BitFitTuning(Tuning[BitFitParams, PreTrainedModel]):
    """The model's own bias vectors; what is kept is how far each of them moved."""

    lab = LAB
    kept = "bias_delta"
    library = "safetensors"
    trained_part = N_("Bias vectors")

    def __init__(self, params: BitFitParams) -> None:
        super().__init__(params)
        self._before: dict[str, Tensor] = {}

    def attach(self, base: PreTrainedModel) -> PreTrainedModel:
        """Free the chosen biases, in float32: their small steps would round away in 16 bits."""
        if self.params.gradient_checkpointing:
            base.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        for name, parameter in base.named_parameters():
            trained = name.endswith(".bias") and is_chosen(name, self.params.biases)
            parameter.requires_grad_(trained)
            if trained:
                parameter.data = parameter.data.float()
        self._before = {name: bias.detach().clone() for name, bias in trained_biases(base).items()}
        return base

    def save(self, model: PreTrainedModel, folder: Path, base_name: str) -> None:
        """Write how far each bias moved, by the name of its parameter."""
        save_file(self._delta(model), folder / DELTA)
        described = {"base_model": base_name, "method": "bitfit", "biases": self.params.biases}
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")

    @torch.no_grad()
    def load(self, base: PreTrainedModel, folder: Path) -> PreTrainedModel:
        """Add the saved steps to the biases of a base."""
        parameters = dict(base.named_parameters())
        for name, step in load_file(folder / DELTA).items():
            parameter = parameters[name]
            parameter.data = parameter.data.float() + step.to(parameter.device)
        return base.eval()

    def show_attached(self, model: PreTrainedModel, run: LabContext) -> None:
        """How many biases each kind of module has, and which are trained."""
        kinds: dict[str, list[int]] = {}
        for name, bias in trained_biases(model).items():
            kinds.setdefault(name.split(".")[-2], []).append(bias.numel())
        columns = [
            Column("module", "Module"),
            Column("count", "Bias vectors"),
            Column("trained", "Trained", "parameters"),
        ]
        rows = [[kind, len(sizes), sum(sizes)] for kind, sizes in kinds.items()]
        run.table("trainable_share", "What BitFit trains, module by module", columns, rows)

    def show_trained(self, model: PreTrainedModel, run: LabContext) -> None:
        """Mean absolute step of each bias, layer by layer (Ben Zaken et al., figure 1)."""
        steps = {name: float(step.abs().mean()) for name, step in self._delta(model).items()}
        layers, kinds = _layers(steps), list(dict.fromkeys(name.split(".")[-2] for name in steps))
        run.heatmap(
            "bias_change",
            "How far the biases moved: mean absolute change, layer by layer",
            x=kinds,
            y=layers,
            values=[[_of(steps, layer, kind) for kind in kinds] for layer in layers],
        )

    def _delta(self, model: PreTrainedModel) -> dict[str, Tensor]:
        now = trained_biases(model)
        return {n: (now[n].detach() - before).cpu() for n, before in self._before.items()}


def trained_biases(model: nn.Module) -> dict[str, nn.Parameter]:
    """The bias vectors that carry gradients."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _layer(name: str) -> str:
    return next((part for part in name.split(".") if part.isdigit()), "–")


def _layers(steps: Mapping[str, float]) -> list[str]:
    return list(dict.fromkeys(map(_layer, steps)))


def _of(steps: Mapping[str, float], layer: str, kind: str) -> float:
    found = [
        s for name, s in steps.items() if _layer(name) == layer and name.split(".")[-2] == kind
    ]
    return found[0] if found else 0.0
