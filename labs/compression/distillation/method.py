"""The losses of distillation: soft labels, hidden states, relations inside self-attention.

All of them are sums over the positions that predict an answer token; prompts and padding do not
count. Averaged over all tokens of a text, what pays for the answer would drown in what does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """What a teacher holds for likely at each of N positions, at one temperature.

    Either whole distributions, `log_probs` (N, V), or the k most likely tokens: `log_probs` (N, k)
    with their `tokens` (N, k) and `rest` (N,), the logarithm of what is left for all others.
    """

    log_probs: Tensor
    tokens: Tensor | None = None
    rest: Tensor | None = None

    def __getitem__(self, positions: Tensor) -> "SoftLabels":
        """Those of some positions, by index."""
        if self.tokens is None or self.rest is None:
            return SoftLabels(self.log_probs[positions])
        return SoftLabels(self.log_probs[positions], self.tokens[positions], self.rest[positions])

    def to(self, device: str) -> "SoftLabels":
        """The same on a device."""
        if self.tokens is None or self.rest is None:
            return SoftLabels(self.log_probs.to(device))
        return SoftLabels(self.log_probs.to(device), self.tokens.to(device), self.rest.to(device))


def soft_labels(logits: Tensor, temperature: float, top_k: int = 0) -> SoftLabels:
    """A teacher's distributions softened by a temperature (Hinton et al. 2015, equation 1).

    p_i = exp(z_i / T) / Σ_j exp(z_j / T)

    Args:
        logits: z, (N, V).
        temperature: T, at least 1; at higher ones unlikely tokens show more.
        top_k: Keep so many tokens and the sum of all others; 0 keeps all.
    """
    log_probs = torch.log_softmax(logits.float() / temperature, dim=-1)
    if not 0 < top_k < logits.shape[-1]:
        return SoftLabels(log_probs)
    kept, tokens = log_probs.topk(top_k, dim=-1)
    return SoftLabels(kept, tokens, _others(log_probs, tokens))


def soft_loss(logits: Tensor, labels: SoftLabels, temperature: float) -> Tensor:
    """T² · KL(p ‖ q) of each position (Hinton et al. 2015, section 2).

    KL(p ‖ q) = Σ_i p_i (log p_i - log q_i),   q_i = exp(v_i / T) / Σ_j exp(v_j / T)

    The gradient with respect to a logit of the student is T (q_i - p_i): without the factor T² it
    would shrink as 1/T². Where T is large against the logits it is (v_i - z_i) / V for centred
    logits, so that matching distributions becomes matching logits.

    With k tokens kept, all others are one class more, in teacher and student alike. That never
    gives more than the whole sum (a partition can only lose divergence), and zero for equal models;
    renormalizing the k tokens instead would push the student to forget all others.

    Args:
        logits: v, the student's, (N, V).
        labels: The teacher's, at the same temperature.
        temperature: T.

    Returns:
        Nats of each position, (N,) float32.
    """
    log_q = torch.log_softmax(logits.float() / temperature, dim=-1)
    if labels.tokens is None or labels.rest is None:
        return temperature**2 * _divergence(labels.log_probs, log_q)
    kept = _divergence(labels.log_probs, log_q.gather(-1, labels.tokens))
    others = labels.rest.exp() * (labels.rest - _others(log_q, labels.tokens))
    return temperature**2 * (kept + others)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _others(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """The logarithm of the probability of all tokens but these, (N,)."""
    return log_probs.scatter(-1, tokens, -torch.inf).logsumexp(-1)


def hidden_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], projections: Sequence[Tensor]
) -> Tensor:
    """Mean squared error of hidden states at each position (TinyBERT, 1909.10351, equation 8).

    MSE(H_S W, H_T), the mean over mapped layers and over the teacher's features.

    Args:
        student: H_S of each mapped layer, (N, D_S).
        teacher: H_T of the layer it imitates, (N, D_T).
        projections: W of each, (D_S, D_T), learned together with the student.

    Returns:
        (N,) float32.
    """
    layers = zip(student, teacher, projections, strict=True)
    errors = [(own.float() @ w - theirs.float()).square().mean(-1) for own, theirs, w in layers]
    return torch.stack(errors).mean(0)


def relation(first: Tensor, second: Tensor, heads: int) -> Tensor:
    """How strongly each token relates to those before it, by head (MiniLMv2, 2012.15828, equation 4).

    softmax(A Bᵀ / √d) over the tokens up to its own. With queries and keys and the model's own
    number of heads that is its attention; with values on both sides the value relation of MiniLM.
    A rotation common to A and B within each head changes nothing.

    Args:
        first: A, (B, T, heads · d).
        second: B, of the same shape.
        heads: Into how many the vectors are cut.

    Returns:
        Logarithms, (B, heads, T, T); a causal model, so minus infinity above the diagonal.
    """
    left, right = _cut(first, heads), _cut(second, heads)
    scores = left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5
    length = scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
    return torch.log_softmax(scores.masked_fill(later, -torch.inf), dim=-1)


def _cut(vectors: Tensor, heads: int) -> Tensor:
    batch, length, width = vectors.shape
    return vectors.float().view(batch, length, heads, width // heads).transpose(1, 2)


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(R_T ‖ R_S) of each token's relation, the mean over heads (MiniLM, 2002.10957, equation 6).

    Padding stands behind the text, so no token relates to it.

    Args:
        student: Logarithms, (B, heads, T, T).
        teacher: Of the same shape, from as many relation heads.

    Returns:
        Nats of each position, (B, T) float32.
    """
    # What is above the diagonal is minus infinity in both: 0 · (∞ - ∞) would be no number.
    apart = torch.where(teacher.isinf(), 0.0, teacher - student)
    return (teacher.exp() * apart).sum(-1).mean(1)
