"""How long answers take: one prompt at a time, after a warm-up, the device waited for."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labs.common.loading import CausalModel
from labs.common.memory import synchronize

# Answers one row on a device: seconds to the first token and to the last.
Timed = Callable[[CausalModel, Tensor, str], tuple[float, float]]

GENERATIONS = 100
WARMUP = 5
NEW_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of generations of equal length, in seconds."""

    generations: int
    new_tokens: int
    mean: float
    p50: float
    p95: float
    p99: float
    first_token: float
    tokens_per_second: float

    def metrics(self) -> dict[str, float]:
        """The same as metric points."""
        return {
            "latency/mean_seconds": self.mean,
            "latency/p50_seconds": self.p50,
            "latency/p95_seconds": self.p95,
            "latency/p99_seconds": self.p99,
            "latency/first_token_seconds": self.first_token,
            "throughput/generated_tokens_per_second": self.tokens_per_second,
        }


def measure_latency(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    device: str,
    check: Callable[[], None] = lambda: None,
    timed: Timed | None = None,
    new_tokens: int = NEW_TOKENS,
) -> Latency:
    """Answer `GENERATIONS` times over the prompts in turn, always with as many tokens.

    The end token does not stop these generations: times of different lengths could not be
    compared. The first `WARMUP` are not counted. `timed` answers otherwise than by generating.
    """
    model.eval()
    times: list[tuple[float, float]] = []
    for i in range(WARMUP + GENERATIONS):
        check()
        ids = torch.tensor([prompts[i % len(prompts)]], device=device)
        times.append((timed or _time_generation)(model, ids, device))
    counted = times[WARMUP:]
    totals = torch.tensor([total for _, total in counted], dtype=torch.float64)
    p50, p95, p99 = torch.quantile(totals, torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64))
    return Latency(
        generations=GENERATIONS,
        new_tokens=new_tokens,
        mean=float(totals.mean()),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        first_token=sum(first for first, _ in counted) / len(counted),
        tokens_per_second=new_tokens * len(counted) / float(totals.sum()),
    )


class _FirstToken:
    """Told by `generate` of the prompt, then of each token; notes when the first one came."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.told = 0
        self.at = 0.0

    def put(self, tokens: Tensor) -> None:
        self.told += 1
        if self.told == 2:
            synchronize(self.device)
            self.at = time.perf_counter()

    def end(self) -> None:
        """Nothing is left to print."""


@torch.inference_mode()
def _time_generation(model: CausalModel, ids: Tensor, device: str) -> tuple[float, float]:
    """Seconds to the first token and to the last.

    By `generate`, not by hand: methods that put something before the text put it there.
    """
    first = _FirstToken(device)
    synchronize(device)
    started = time.perf_counter()
    model.generate(  # type: ignore[operator]  # peft passes the call through, its types do not say so
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        streamer=first,
    )
    synchronize(device)
    return first.at - started, time.perf_counter() - started
