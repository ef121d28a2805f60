"""Rows of measurements, and the page they are written to."""

import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Row:
    """One figure: what, how much against which limit, and how it was taken."""

    what: str
    measured: str
    limit: str
    how: str


def spread(values: Sequence[float], unit: str, scale: float = 1.0) -> str:
    """Median with the least and the greatest value."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle * scale:.3g} {unit} ({low * scale:.3g} to {high * scale:.3g}, n={len(values)})"


def machine() -> str:
    """The machine in words, as far as it matters to the figures."""
    memory = psutil.virtual_memory().total / 1024**3
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, no GPU, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def write(sections: dict[str, list[Row]], describe: dict[str, Callable[..., object]]) -> None:
    """Replace the page by these sections; sections that were not measured now stay."""
    kept = _sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    stamp = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"
    for name, rows in sections.items():
        about = (describe[name].__doc__ or "").strip().splitlines()[0]
        table = "\n".join(f"| {r.what} | {r.measured} | {r.limit} | {r.how} |" for r in rows)
        kept[name] = (
            f"{about}\n\nMeasured {stamp}: `python -m benchmarks {name}`\n\n"
            f"| what | measured | limit | how |\n|---|---|---|---|\n{table}\n"
        )
    body = "\n".join(f"## {name}\n\n{text.strip()}\n" for name, text in sorted(kept.items()))
    RESULTS.write_text(f"# Results\n\n{INTRODUCTION}\n\n{body}", encoding="utf-8")


INTRODUCTION = """Each figure is a median with its range, taken on one machine in one session by the
command above its table. The machine is small, shared and noisy: trust the ratios."""


def _sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")[1:]
    return {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in parts}
