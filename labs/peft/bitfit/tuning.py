"""BitFit as the shared stages need it."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from transformers import PreTrainedModel

from labs.common.tuning import Tuning, own_loader
from labs.contract import N_, Column, LabContext
from labs.peft.bitfit import loader
from labs.peft.bitfit.method import amount_of_change, chosen, delta
from labs.peft.bitfit.spec import LAB, BitFitParams

DELTA = "bias_delta.safetensors"
DESCRIPTION = "bitfit.json"
# How torch calls the tensor behind a parameter that is computed from another.
BEHIND = ".parametrizations.bias.original"


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
        self.checkpoint_gradients(base)
        base.requires_grad_(False)
        names = chosen((name for name, _ in base.named_parameters()), self.params.biases)
        for name in names:
            _free(base.get_submodule(name.removesuffix(".bias")))
        self._before = {name: bias.detach().clone() for name, bias in trained_biases(base).items()}
        return base

    def save(self, model: PreTrainedModel, folder: Path, base_name: str) -> None:
        """Write how far each bias moved, by the name of its parameter."""
        save_file(self._delta(model), folder / DELTA)
        described = {"base_model": base_name, "method": "bitfit", "biases": self.params.biases}
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")

    def load(self, base: PreTrainedModel, folder: Path) -> PreTrainedModel:
        """A plain model with the saved steps added to its biases."""
        loader.add_bias_delta(base, folder)
        plain: PreTrainedModel = base.eval()
        return plain

    @torch.no_grad()
    def as_trained(self, base: PreTrainedModel, folder: Path) -> PreTrainedModel:
        """The model as training had it, with the saved steps behind its biases."""
        model: PreTrainedModel = self.attach(base).eval()
        biases = trained_biases(model)
        for name, step in load_file(folder / DELTA).items():
            biases[name].add_(step.to(biases[name].device))
        return model

    def loading(self, base_name: str) -> str:
        """The loader of this lab, which deploy itself uses."""
        return own_loader(loader, "add_bias_delta(model)", base_name)

    def show_attached(self, model: PreTrainedModel, run: LabContext) -> None:
        """How many biases each kind of module has, and which are trained."""
        kinds: dict[str, list[int]] = {}
        for name, bias in trained_biases(model).items():
            kinds.setdefault(place(name)[1], []).append(bias.numel())
        columns = [
            Column("module", "Module"),
            Column("count", "Bias vectors"),
            Column("trained", "Trained", "parameters"),
        ]
        rows = [[kind, len(sizes), sum(sizes)] for kind, sizes in kinds.items()]
        run.table("trainable_share", "What BitFit trains, module by module", columns, rows)

    def show_trained(self, model: PreTrainedModel, run: LabContext) -> None:
        """Mean absolute step of each bias, layer by layer (Ben Zaken et al., figure 1)."""
        steps = {place(name): amount_of_change(s) for name, s in self._delta(model).items()}
        layers = list(dict.fromkeys(layer for layer, _ in steps))
        kinds = list(dict.fromkeys(kind for _, kind in steps))
        run.heatmap(
            "bias_change",
            "How far the biases moved: mean absolute change, layer by layer",
            x=kinds,
            y=layers,
            values=[[steps.get((layer, kind)) for kind in kinds] for layer in layers],
        )

    def _delta(self, model: PreTrainedModel) -> dict[str, Tensor]:
        now = {name: bias.detach() for name, bias in trained_biases(model).items()}
        return {name: step.cpu() for name, step in delta(self._before, now).items()}


class _InFormat(nn.Module):
    """A bias as the layer computes with it, from the float32 numbers that are trained."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, bias: Tensor) -> Tensor:
        return bias.to(self.dtype)


def _free(module: nn.Module) -> None:
    """Let the bias of a module be trained, in float32 whatever the module computes in."""
    stored = module.bias
    assert isinstance(stored, nn.Parameter)
    module.bias = nn.Parameter(stored.data.float())
    if stored.dtype != torch.float32:
        # The format differs on purpose, which torch would take for a mistake.
        register_parametrization(module, "bias", _InFormat(stored.dtype), unsafe=True)


def trained_biases(model: nn.Module) -> dict[str, nn.Parameter]:
    """The bias vectors that carry gradients, by the names they have in a plain model."""
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    return {name.replace(BEHIND, ".bias"): p for name, p in trained}


def place(name: str) -> tuple[str, str]:
    """`transformer.h.3.attn.c_proj.bias` is in layer 3, `attn.c_proj`; outside layers "–"."""
    steps = name.split(".")[:-1]
    layer = next((i for i, step in enumerate(steps) if step.isdigit()), -1)
    return steps[layer] if layer >= 0 else "–", ".".join(steps[layer + 1 :])
