"""What a scoreboard compares methods by: each column, and where its figures come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.i18n import N_, gettext
from labs.contract import Direction, Lab, Metric

# In place of a key: the metric that the lab itself is judged by.
HEADLINE = ""


class How(StrEnum):
    """Which of a series' values stands in the table."""

    KEPT = "kept"
    NEWEST = "newest"
    HIGHEST = "highest"
    MEDIAN = "median"
    SUM = "sum"


HOW_TOLD: Mapping[How, str] = {
    How.KEPT: N_("at the step whose weights were kept, on rows that were not learned from"),
    How.NEWEST: N_("as the run measured it last"),
    How.HIGHEST: N_("the highest of all training steps"),
    How.MEDIAN: N_("the median of all training steps"),
    How.SUM: N_("all training steps together, without evaluations and loading"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in addresses and files, the metric behind it, and how that is read.

    Attributes:
        title: Where the metric's own title does not fit what is made of it.
        base: The metric of the untouched model; step 0 of the same one where it is empty.
        is_quality: Whether it says how good the result is; the others say what it costs.
    """

    name: str
    key: str
    how: How
    title: str = ""
    base: str | None = None
    is_quality: bool = False

    def key_of(self, lab: Lab) -> str:
        return self.key or lab.headline

    def metric(self, labs: Sequence[Lab]) -> Metric:
        """As the first of these labs that has it declares it."""
        found = (metric for lab in labs for metric in lab.metrics if metric.key == self.key_of(lab))
        return next(found, Metric(self.key or self.name, self.title or self.key))


COLUMNS: tuple[Column, ...] = (
    Column("quality", HEADLINE, How.KEPT, base="", is_quality=True),
    Column("perplexity", "eval/perplexity", How.KEPT, base="", is_quality=True),
    Column("test", "test/accuracy", How.NEWEST, base="test/base_accuracy", is_quality=True),
    Column("share", "model/trainable_fraction", How.NEWEST),
    Column("parameters", "model/trainable_parameters", How.NEWEST),
    Column("memory", "memory/peak_bytes", How.HIGHEST),
    Column("speed", "throughput/tokens_per_second", How.MEDIAN),
    Column("time", "time/step_seconds", How.SUM, title=N_("Training time")),
    Column("size", "artifact/bytes", How.NEWEST),
    Column("latency", "latency/p50_seconds", How.NEWEST),
)
# What a picture may set against quality; the trainable share says what the rest follows.
COSTS = ("share", "memory", "time", "size", "latency")


@dataclass(frozen=True, slots=True)
class Heading:
    """A column as a page shows it. `source` says where its figures come from."""

    name: str
    title: str
    key: str
    unit: str
    direction: Direction
    source: str
    is_quality: bool


def headings(labs: Sequence[Lab]) -> list[Heading]:
    """All columns, in words, for runs of these labs."""
    return [_heading(column, column.metric(labs)) for column in COLUMNS]


def _heading(column: Column, metric: Metric) -> Heading:
    return Heading(
        name=column.name,
        title=gettext(column.title or metric.title),
        key=metric.key,
        unit=metric.unit,
        direction=metric.direction,
        source=gettext(HOW_TOLD[column.how]),
        is_quality=column.is_quality,
    )
