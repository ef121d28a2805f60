"""The student at work: what a batch of a lesson costs it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.common.batches import Batch, collate
from labs.common.loss import autocast, text_logits
from labs.compression.distillation.choosing import mapped_layers
from labs.compression.distillation.inner import vectors_of
from labs.compression.distillation.labels import Lesson, targets_of
from labs.compression.distillation.method import (
    SoftLabels,
    hidden_loss,
    relation,
    relation_loss,
    soft_labels,
    soft_loss,
)
from labs.compression.distillation.spec import DistillationParams

PAIRS = {
    "attention_value": (("queries", "keys"), ("values", "values")),
    "query_key_value": (("queries", "queries"), ("keys", "keys"), ("values", "values")),
}


class Projected(nn.Module):
    """A student with the projections of its hidden states, which are learned with it.

    A projection between spaces of one size starts as the identity, others with orthogonal rows.
    """

    def __init__(self, student: PreTrainedModel, teacher_width: int) -> None:
        super().__init__()
        self.student = student
        width, count = int(student.config.hidden_size), int(student.config.num_hidden_layers)
        made = [torch.empty(width, teacher_width, device=student.device) for _ in range(count)]
        for each in made:
            if width == teacher_width:
                nn.init.eye_(each)
            else:
                nn.init.orthogonal_(each)
        self.projections = nn.ParameterList([nn.Parameter(each) for each in made])

    def forward(self, **inputs: Tensor) -> Any:
        """What the student says; the projections are for the loss only."""
        return self.student(**inputs)


class Distilling:
    """The loss of a distillation as the common training loop asks for it.

    L = Σ_t (w_soft · T² KL_t + w_hard · [t is labelled] CE_t + w_hidden · MSE_t + w_relation · R_t)

    over the target tokens t of a batch; the loop divides by their number.
    """

    def __init__(
        self,
        lesson: Lesson,
        pad: int,
        params: DistillationParams,
        device: str,
        teacher: PreTrainedModel | None = None,
        watched: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        """`watched` are the attentions of student and teacher, where their relations count."""
        self.lesson, self.pad, self.params, self.device = lesson, pad, params, device
        self.teacher, self.watched = teacher, watched
        self._starts = lesson.starts
        self._parts: dict[str, float] = {}
        self._targets = 0

    @property
    def count(self) -> int:
        """How many rows the lesson has."""
        return len(self.lesson.rows)

    def batch(self, indices: Sequence[int]) -> Batch:
        """These rows, padded, with `soft`, where their soft labels stand, and `labelled` (B,)."""
        rows = [self.lesson.rows[i] for i in indices]
        found = collate(rows, self.pad, self.device)
        places = [torch.arange(self._starts[i], self._starts[i + 1]) for i in indices]
        known = torch.tensor([i < self.lesson.labelled for i in indices], device=self.device)
        return {**found, "soft": torch.cat(places), "labelled": known}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The weighted sum; its parts are kept for the log."""
        params, kept = self.params, targets_of(batch)
        out = self._read(model, batch)
        logits = text_logits(out.logits, batch["input_ids"])[:, :-1][kept].float()
        taught = self._teach(batch) if self.teacher is not None else None
        soft = self._soft(batch, kept, taught)
        losses: dict[str, tuple[float, Tensor]] = {
            "soft": (params.soft_weight, soft_loss(logits, soft, params.temperature).sum()),
            "hard": (params.hard_weight, _hard(logits, batch, kept)),
        }
        if taught is not None and params.hidden_weight:
            assert isinstance(model, Projected)
            losses["hidden"] = (params.hidden_weight, _hidden(out, taught, model, kept))
        if taught is not None and params.relation_weight:
            losses["relation"] = (params.relation_weight, self._relations(kept))
        self._note(losses, int(kept.sum()))
        return sum((weight * loss for weight, loss in losses.values() if weight), start=logits.new_zeros(()))  # fmt: skip

    def parts(self) -> dict[str, float]:
        """The unweighted parts, each for one target token."""
        tokens = max(1, self._targets)
        told = {f"distill/{name}_loss": value / tokens for name, value in self._parts.items()}
        self._parts, self._targets = {}, 0
        return told

    def _read(self, model: nn.Module, batch: Batch) -> Any:
        return model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            use_cache=False,
            output_hidden_states=self.params.hidden_weight > 0,
        )

    @torch.no_grad()
    def _teach(self, batch: Batch) -> Any:
        assert self.teacher is not None
        with autocast(self.params.precision, self.device):
            return self._read(self.teacher, batch)

    def _soft(self, batch: Batch, kept: Tensor, taught: Any) -> SoftLabels:
        if taught is None:
            assert self.lesson.soft is not None
            return self.lesson.soft[batch["soft"]].to(self.device)
        logits = text_logits(taught.logits, batch["input_ids"])[:, :-1][kept]
        return soft_labels(logits, self.params.temperature)

    def _relations(self, kept: Tensor) -> Tensor:
        assert self.watched is not None
        own, theirs = (vectors_of(module) for module in self.watched)
        heads = self.params.relation_heads or common_heads(self.watched)
        pairs = PAIRS[self.params.relations]
        apart = [
            relation_loss(
                relation(getattr(own, a), getattr(own, b), heads),
                relation(getattr(theirs, a), getattr(theirs, b), heads),
            )
            for a, b in pairs
        ]
        return torch.stack(apart).mean(0)[:, :-1][kept].sum()

    def _note(self, losses: dict[str, tuple[float, Tensor]], targets: int) -> None:
        self._targets += targets
        for name, (_, loss) in losses.items():
            self._parts[name] = self._parts.get(name, 0.0) + float(loss.detach())


def common_heads(watched: Sequence[nn.Module]) -> int:
    """As many relation heads as the numbers of heads of both attentions allow."""
    configs: list[Any] = [module.config for module in watched]
    return math.gcd(*(int(config.num_attention_heads) for config in configs))


def _hard(logits: Tensor, batch: Batch, kept: Tensor) -> Tensor:
    """Cross-entropy of the true answers, summed; rows that the teacher answered have none."""
    true = batch["labelled"].unsqueeze(1).expand_as(kept)[kept]
    targets = batch["labels"][:, 1:][kept]
    return F.cross_entropy(logits[true], targets[true], reduction="sum")


def _hidden(out: Any, taught: Any, model: Projected, kept: Tensor) -> Tensor:
    own, theirs = out.hidden_states, taught.hidden_states
    pairs = mapped_layers(len(own) - 1, len(theirs) - 1)
    return hidden_loss(
        [own[mine][:, :-1][kept] for mine, _ in pairs],
        [theirs[other][:, :-1][kept] for _, other in pairs],
        list(model.projections),
    ).sum()
