"""Everything a training must remember to go on as if it had never stopped."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from labs.common.params import TrainingParams
from labs.common.seeding import restore_random_state, save_random_state

Weights = dict[str, Tensor]
# Whether weight decay pulls a parameter of that name towards zero.
Decays = Callable[[str, nn.Parameter], bool]


def never(name: str, parameter: nn.Parameter) -> bool:
    """No parameter is decayed."""
    return False


def matrices(name: str, parameter: nn.Parameter) -> bool:
    """Matrices are decayed, vectors (biases, norms, lengths) are not."""
    return parameter.ndim >= 2


class TrainingState:
    """Trained weights, their best copy, optimizer, scaler and position.

    The order of the data needs no state: it follows from seed and step.
    """

    def __init__(
        self, model: nn.Module, params: TrainingParams, device: str, decays: Decays = never
    ) -> None:
        self.model = model
        self.device = device
        self.trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizer = _optimizer(self.trainable, params, decays)
        self.scaler = torch.amp.GradScaler(device, enabled=params.precision == "fp16")
        self.step = 0
        self.best_step = 0
        self.best_loss = math.inf
        self.evaluations_without_gain = 0
        self._best: Weights = {}

    def take_step(self, rate: float) -> None:
        """Update the weights; fp16 leaves a step out whose gradient overflowed."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def note_evaluation(self, loss: float) -> None:
        """Keep a copy of the weights when they are the best so far."""
        # Nothing is below not-a-number: whatever comes after it is better.
        if loss < self.best_loss or not self._best or math.isnan(self.best_loss):
            self.best_loss, self.best_step = loss, self.step
            self.evaluations_without_gain = 0
            self._best = {name: p.detach().cpu().clone() for name, p in self.trainable.items()}
        else:
            self.evaluations_without_gain += 1

    def restore_best(self) -> None:
        """Put the best weights back into the model."""
        _fill(self.trainable, self._best)

    def save(self, folder: Path) -> None:
        """Write all of it into a checkpoint folder."""
        now = {name: p.detach().cpu().contiguous() for name, p in self.trainable.items()}
        save_file(now, folder / "weights.safetensors")
        save_file(self._best, folder / "best.safetensors")
        states = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        torch.save(states, folder / "optimizer.pt")
        save_random_state(folder / "random.pt")
        (folder / "position.json").write_text(json.dumps(self._position()), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote."""
        _fill(self.trainable, load_file(folder / "weights.safetensors"))
        self._best = load_file(folder / "best.safetensors")
        states = torch.load(folder / "optimizer.pt", map_location=self.device, weights_only=True)
        self.optimizer.load_state_dict(states["optimizer"])
        self.scaler.load_state_dict(states["scaler"])
        position = json.loads((folder / "position.json").read_text(encoding="utf-8"))
        self.step = position["step"]
        self.best_step = position["best_step"]
        self.best_loss = float(position["best_loss"])
        self.evaluations_without_gain = position["evaluations_without_gain"]
        restore_random_state(folder / "random.pt")

    def _position(self) -> dict[str, int | str]:
        return {
            "step": self.step,
            "best_step": self.best_step,
            "best_loss": repr(self.best_loss),
            "evaluations_without_gain": self.evaluations_without_gain,
        }


def _optimizer(
    trainable: dict[str, nn.Parameter], params: TrainingParams, decays: Decays
) -> torch.optim.AdamW:
    """AdamW, which pulls towards zero only what the method wants pulled."""
    pulled = [p for name, p in trainable.items() if decays(name, p)]
    free = [p for name, p in trainable.items() if not decays(name, p)]
    groups = [
        {"params": pulled, "weight_decay": params.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, lr=params.learning_rate, fused=True)


@torch.no_grad()
def _fill(trainable: dict[str, nn.Parameter], weights: Weights) -> None:
    for name, parameter in trainable.items():
        parameter.copy_(weights[name])
