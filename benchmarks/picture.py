"""A line chart as SVG, readable on light and dark pages alike. No library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 84, 52
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2733; }
  .title { font-size: 16px; font-weight: 650; }
  .quiet { fill: #55606e; }
  .paper { fill: #ffffff; stroke: #d7dce3; }
  .grid { stroke: #e4e8ee; }
  .axis { stroke: #7c8896; }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
  .s0 { stroke: #1c5fd4; } .s1 { stroke: #b4540a; } .s2 { stroke: #0f7a4c; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e9edf3; } .quiet { fill: #a9b4c2; }
    .paper { fill: #151a22; stroke: #333c49; } .grid { stroke: #28303b; } .axis { stroke: #7c8896; }
    .s0 { stroke: #7db0ff; } .s1 { stroke: #ffb26b; } .s2 { stroke: #62d6a0; }
  }
"""
DASHES = ("none", "9 4", "2.5 4")


@dataclass(frozen=True)
class Curve:
    """A named series of points; drawn as steps."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """What an axis shows, in which unit, and up to where."""

    title: str
    most: float
    step: float


def write(path: Path, title: str, note: str, x: Axis, y: Axis, curves: Sequence[Curve]) -> None:
    """Draw curves over two axes that begin at zero."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>',
        f'<text class="title" x="20" y="29">{escape(title)}</text>',
        f'<text class="quiet" x="20" y="49">{escape(note)}</text>',
        *_legend(curves),
        *_horizontal(x),
        *_vertical(y),
        *(_curve(number, curve, x, y) for number, curve in enumerate(curves)),
        "</svg>\n",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _legend(curves: Sequence[Curve]) -> list[str]:
    parts, at = [], 20
    for number, curve in enumerate(curves):
        dash = DASHES[number % len(DASHES)]
        parts.append(
            f'<path class="line s{number}" stroke-dasharray="{dash}" d="M{at} 66h30"/>'
            f'<text x="{at + 37}" y="70">{escape(curve.name)}</text>'
        )
        at += 62 + 7 * len(curve.name)
    return parts


def _horizontal(axis: Axis) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>']
    for tick in _ticks(axis):
        at = _x(tick, axis)
        parts.append(f'<path class="grid" d="M{at} {TOP}V{bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{at}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    label = escape(axis.title)
    parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{label}</text>')
    return parts


def _vertical(axis: Axis) -> list[str]:
    parts = []
    for tick in _ticks(axis):
        at = _y(tick, axis)
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="quiet" x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{tick:g}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 18 {middle})" text-anchor="middle"'
    parts.append(f'<text x="18" y="{middle}" {turned}>{escape(axis.title)}</text>')
    return parts


def _curve(number: int, curve: Curve, x: Axis, y: Axis) -> str:
    path = ""
    for at, value in zip(curve.xs, curve.ys, strict=True):
        if at > x.most:
            break
        path += f"H{_x(at, x)}V{_y(value, y)}" if path else f"M{_x(at, x)} {_y(value, y)}"
    dash = DASHES[number % len(DASHES)]
    return f'<path class="line s{number}" stroke-dasharray="{dash}" d="{path}"/>'


def _ticks(axis: Axis) -> list[float]:
    return [axis.step * number for number in range(int(axis.most / axis.step + 1e-9) + 1)]


def _x(value: float, axis: Axis) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * value / axis.most, 1)


def _y(value: float, axis: Axis) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / axis.most, 1)
