"""Rows as a base model will read them: rendered, masked, and how long they are in tokens."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import quantiles

from app.datasets.rows import StoredRows
from app.i18n import N_, gettext, sentence
from app.models import Dataset, LanguageModel
from app.runs.preflight.stamps import Stamp, stamp_of
from app.runs.preflight.tokens import RowTokenizer, TemplateRefused, row_tokenizer
from labs.contract import LabError
from labs.formats import Example

# Counting takes a second for some million characters: of long rows fewer are drawn.
SAMPLED_ROWS = 400
SAMPLED_CHARACTERS = 400_000
# The maximum length that the labs start from, in tokens.
USUAL_LENGTH = 256
MOST_BINS = 16
NARROWEST_BIN = 8
# A few very long rows would squeeze all others into one bin: beyond so many times the 95th
# percentile rows are counted together.
TAIL = 4
# A long text is shown by its beginning and its end.
SHOWN_BEGINNING, SHOWN_END = 1200, 400


@dataclass(frozen=True, slots=True)
class Shown:
    """A text for the eye: beginning and end, and how many characters between are left out."""

    beginning: str
    left_out: int = 0
    end: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A row as a model reads it. Tokens are counted before a run cuts to its maximum length.

    `refused` says why the model's template does not take it; then there is only the plain row.
    Without a tokenizer there are no tokens.
    """

    given: Shown
    learned: Shown
    behind: Shown
    rejected: Shown | None = None
    given_tokens: int | None = None
    learned_tokens: int | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of `low` to below `high` tokens; of the last one there may be longer rows (None)."""

    low: int
    high: int | None
    rows: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A length that matters, and the share of rows, in percent, that are longer."""

    title: str
    tokens: int
    longer: int


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """How long rows are for a model, out of `counted` rows of `rows`."""

    counted: int
    rows: int
    median: int
    p95: int
    longest: int
    bins: Sequence[Bin]
    marks: Sequence[Mark]


class Reader:
    """How a base model reads rows; `told` says why it cannot, where it cannot."""

    def __init__(self, model: LanguageModel | None) -> None:
        self.model = model
        self.told = ""
        self._tokenizer: RowTokenizer | None = None
        if model is None:
            self.told = gettext(N_("There is no base model in the library."))
            return
        try:
            self._tokenizer = row_tokenizer(Path(model.path))
        except LabError as error:
            self.told = sentence(error.message, error.values)
        except OSError:
            told = N_("The folder of “{name}” cannot be read.")
            self.told = sentence(told, {"name": model.name})
        else:
            if self._tokenizer is None:
                told = N_("“{name}” has no tokenizer.json: rows are shown without its template.")
                self.told = sentence(told, {"name": model.name})

    def render(self, example: Example) -> Rendered:
        """The row with its masked span."""
        if self._tokenizer is None:
            return _plain(example)
        try:
            return _rendered(self._tokenizer, example)
        except TemplateRefused as refused:
            told = N_("The chat template of “{name}” refuses this row: {detail}.")
            assert self.model is not None, "a tokenizer belongs to a model"
            values = {"name": self.model.name, "detail": str(refused).rstrip(".")}
            return replace(_plain(example), refused=sentence(told, values))

    def lengths(self, dataset: Dataset) -> TokenLengths | None:
        """How long the dataset's rows are; None where no row can be counted."""
        if self._tokenizer is None or self.model is None:
            return None
        folder = Path(self.model.path)
        totals = _totals(_Key(dataset), folder, stamp_of(folder, "*token*"))
        if not totals:
            return None
        context = int(self.model.facts.get("max_positions") or 0)
        return token_lengths(totals, dataset.rows, context)


class _Key:
    """A dataset as a key to remember by: its content never changes."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._key = (dataset.sha256, dataset.path)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other._key == self._key


@lru_cache(maxsize=64)
def _totals(key: _Key, folder: Path, stamp: Stamp) -> tuple[int, ...]:
    """Tokens of the sampled rows; a row that the template refuses is not counted."""
    tokenizer = row_tokenizer(folder)
    assert tokenizer is not None, "a model without a tokenizer was told of before"
    totals: list[int] = []
    left = 2 * SAMPLED_CHARACTERS
    stored = StoredRows(key.dataset)
    mean = max(1.0, stored.profile.whole.mean)
    for example in stored.sample(min(SAMPLED_ROWS, round(SAMPLED_CHARACTERS / mean))):
        left -= len(example.answer) + sum(len(each.content) for each in example.prompt)
        try:
            totals.append(tokenizer.measure(example).total)
        except TemplateRefused:
            continue
        if left < 0:
            break
    return tuple(sorted(totals))


def token_lengths(totals: Sequence[int], rows: int, context: int) -> TokenLengths:
    """Sorted lengths as a histogram, with marks for the usual maximum length and the context."""
    cuts = quantiles(totals, n=20, method="inclusive") if len(totals) > 1 else [totals[0]] * 19
    median, p95 = round(cuts[9]), round(cuts[18])
    marks = [(gettext(N_("usual maximum length of a run")), USUAL_LENGTH)]
    marks += [(gettext(N_("context of the model")), context)] if context else []
    return TokenLengths(
        counted=len(totals),
        rows=rows,
        median=median,
        p95=p95,
        longest=totals[-1],
        bins=_bins(totals, min(totals[-1], TAIL * p95)),
        marks=[
            Mark(title, tokens, percent(sum(each > tokens for each in totals), len(totals)))
            for title, tokens in marks
        ],
    )


def percent(part: int, whole: int) -> int:
    """Never 0 for some, nor 100 for not all."""
    if part in (0, whole):
        return 100 if part else 0
    return min(99, max(1, round(100 * part / whole)))


def _bins(totals: Sequence[int], longest: int) -> list[Bin]:
    """Bins as wide as a power of two, so that marks lie between them."""
    width = NARROWEST_BIN
    while longest // width >= MOST_BINS:
        width *= 2
    last = longest // width
    counts = Counter(min(total // width, last) for total in totals)
    has_longer = totals[-1] // width > last
    return [
        Bin(
            index * width, None if has_longer and index == last else (index + 1) * width,
            counts[index],
        )
        for index in range(min(counts), last + 1)
    ]  # fmt: skip


def _rendered(tokenizer: RowTokenizer, example: Example) -> Rendered:
    text, length = tokenizer.text(example), tokenizer.measure(example)
    rejected = None
    if example.rejected:
        rejected = shown(tokenizer.text(replace(example, answer=example.rejected)).learned)
    return Rendered(
        shown(text.given),
        shown(text.learned),
        shown(text.behind),
        rejected,
        length.prompt,
        length.answer,
    )


def _plain(example: Example) -> Rendered:
    """The row without any template."""
    given = "\n\n".join(f"{turn.role}: {turn.content}" for turn in example.prompt)
    rejected = shown(example.rejected) if example.rejected else None
    return Rendered(shown(given), shown(example.answer), shown(""), rejected)


def shown(text: str) -> Shown:
    """The text, or the beginning and the end of a long one."""
    left_out = len(text) - SHOWN_BEGINNING - SHOWN_END
    if left_out <= 0:
        return Shown(text)
    return Shown(text[:SHOWN_BEGINNING], left_out, text[-SHOWN_END:])
