"""IA³ as the shared stages need it."""

from collections.abc import Iterator
from typing import Any

import torch
from peft import IA3Config, PeftModel
from peft.tuners.ia3 import IA3Layer
from transformers import PreTrainedModel

from labs.common.peft_tuning import ADAPTER, PeftTuning, keeps_inputs_first
from labs.contract import N_, Column, LabContext
from labs.peft.ia3.spec import LAB, MODULES, Ia3Params

SHOWN_CHANNELS = 64


class Ia3Tuning(PeftTuning[Ia3Params]):
    """Vectors of factors; at 1 the model is the base."""

    lab = LAB
    trained_part = N_("Factors")

    def config(self, base: PreTrainedModel) -> IA3Config:
        """The same parameters in peft's words."""
        paths = [f".{path}" for path, _ in base.named_modules()]
        names = [name for part in self.params.rescaled for name in MODULES[part]]
        targets = [name for name in names if any(path.endswith(f".{name}") for path in paths)]
        inner = [name for name in targets if name in MODULES["feed_forward"]]
        return IA3Config(
            task_type="CAUSAL_LM",
            target_modules=targets,
            feedforward_modules=inner,
            fan_in_fan_out=keeps_inputs_first(base),
        )

    def show_attached(self, model: PeftModel, run: LabContext) -> None:
        """How many channels of each kind of matrix get a factor."""
        kinds: dict[str, list[int]] = {}
        for name, scales in factors(model):
            kinds.setdefault(name.rpartition(".")[2], []).append(scales.numel())
        columns = [
            Column("module", "Module"),
            Column("count", "Matrices"),
            Column("channels", "Channels each"),
            Column("trained", "Trained", "parameters"),
        ]
        rows = [[kind, len(sizes), sizes[0], sum(sizes)] for kind, sizes in kinds.items()]
        run.table("trainable_share", "What IA³ trains, module by module", columns, rows)

    def show_trained(self, model: PeftModel, run: LabContext) -> None:
        """The factors, sorted in each matrix: 1 leaves a channel as it was, 0 switches it off."""
        found = list(factors(model))
        values = [_spread(scales) for _, scales in found]
        run.heatmap(
            "factors",
            "Learned factors of each matrix, smallest to largest",
            x=[f"{100 * i // (SHOWN_CHANNELS - 1)} %" for i in range(SHOWN_CHANNELS)],
            y=[_short(name) for name, _ in found],
            values=values,
        )


def factors(model: PeftModel) -> Iterator[tuple[str, torch.Tensor]]:
    """The factors of each rescaled matrix, (channels,), by its module's name."""
    for name, layer in model.get_base_model().named_modules():
        if isinstance(layer, IA3Layer):
            yield name, _factors_of(layer)


def _factors_of(layer: Any) -> torch.Tensor:
    found: torch.Tensor = layer.ia3_l[ADAPTER].detach().float().flatten().cpu()
    return found


def _spread(scales: torch.Tensor) -> list[float]:
    """As many quantiles as a picture has room for."""
    places = torch.linspace(0, 1, SHOWN_CHANNELS)
    values: list[float] = torch.quantile(scales, places).tolist()
    return values


def _short(module: str) -> str:
    numbers = [part for part in module.split(".") if part.isdigit()]
    return ".".join([*numbers[:1], module.rpartition(".")[2]])
