"""Where the names beside points stand, so that none covers another or a point. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LINE_HEIGHT = 15.0
# Of letters at the picture's size of type; Chinese ones are as wide as they are high.
NARROW, WIDE = 7.6, 13.5
GAP = 3.0
GRID = 5.0
# Around a point: so far apart, so many, and so many places on each.
RING, RINGS, TURNS = 9.0, 14, 24


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def covers(self, other: "Box") -> bool:
        """Whether the two have any area in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def around(self, x: float, y: float) -> float:
        """How far the nearest of it is from a point."""
        aside = max(self.x - x, 0.0, x - self.x - self.width)
        above = max(self.y - y, 0.0, y - self.y - self.height)
        return float((aside**2 + above**2) ** 0.5)

    def anchored(self, x: float) -> tuple[float, str]:
        """An end of a text in this box, and which: the nearest to the point that it names.

        A text that turns out narrower than its box so stays near its point.
        """
        if self.x >= x:
            return self.x, "start"
        if self.x + self.width <= x:
            return self.x + self.width, "end"
        return self.x + self.width / 2, "middle"


def width_of(text: str) -> float:
    """How wide a text is at most."""
    return sum(WIDE if ord(sign) > 0x2E80 else NARROW for sign in text)


def placed(
    texts: Sequence[str],
    points: Sequence[tuple[float, float]],
    radius: float,
    room: Box,
    taken: Sequence[Box] = (),
) -> list[Box]:
    """A box inside `room` for the text of each point: a free one, as near to its point as may be.

    Every point keeps its own mark of `radius` free. Where nothing is free any more, the text
    stands beside its point whatever is there.
    """
    marks = [Box(x - radius, y - radius, 2 * radius, 2 * radius) for x, y in points]
    found: list[Box] = []
    for text, (x, y) in zip(texts, points, strict=True):
        width = width_of(text)
        occupied = (*marks, *taken, *found)
        free = (
            box
            for box in _choices(x, y, width, radius, room)
            if _is_inside(box, room) and not any(box.covers(each) for each in occupied)
        )
        found.append(next(free, None) or next(iter(_beside(x, y, width, radius))))
    return found


def _choices(x: float, y: float, width: float, radius: float, room: Box) -> Iterator[Box]:
    """Beside the point, then farther and farther around it, then anywhere."""
    yield from _beside(x, y, width, radius)
    for ring in range(1, RINGS):
        away = radius + ring * RING
        for turn in range(TURNS):
            angle = 2 * math.pi * turn / TURNS
            middle = x + (away + width / 2) * math.cos(angle)
            line = y + (away + LINE_HEIGHT / 2) * math.sin(angle)
            yield Box(middle - width / 2, line - LINE_HEIGHT / 2, width, LINE_HEIGHT)
    for row in range(int(max(0.0, room.height - LINE_HEIGHT) / GRID) + 1):
        for column in range(int(max(0.0, room.width - width) / GRID) + 1):
            yield Box(room.x + column * GRID, room.y + row * GRID, width, LINE_HEIGHT)


def _beside(x: float, y: float, width: float, radius: float) -> Iterator[Box]:
    """Right, left, above and below."""
    aside, half = radius + GAP, LINE_HEIGHT / 2
    yield Box(x + aside, y - half, width, LINE_HEIGHT)
    yield Box(x - aside - width, y - half, width, LINE_HEIGHT)
    yield Box(x - width / 2, y - aside - LINE_HEIGHT, width, LINE_HEIGHT)
    yield Box(x - width / 2, y + aside, width, LINE_HEIGHT)


def _is_inside(box: Box, room: Box) -> bool:
    return (
        room.x <= box.x
        and room.y <= box.y
        and box.x + box.width <= room.x + room.width
        and box.y + box.height <= room.y + room.height
    )
