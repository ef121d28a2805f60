"""The first rows of a dataset, read and tokenized as the trainer will: what would go wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from app.errors import FieldError
from app.i18n import N_
from app.models import Dataset
from app.runs.preflight.fields import told
from app.runs.preflight.stamps import Stamp, stamp_of
from app.runs.preflight.tokens import RowLength, RowTokenizer, TemplateRefused, row_tokenizer
from app.runs.reasons import reason_of
from labs.contract import LabError, Params
from labs.dataset_check import read_example
from labs.estimate import Lengths
from labs.formats import Example
from labs.jsonl import Problem, read_rows
from labs.models import ModelFacts
from labs.splits import label_names, split_files

Json = dict[str, Any]
# Of each split. A row may have 4 MiB, so that their text is bounded as well.
SAMPLED_ROWS = 50
SAMPLED_CHARACTERS = 200_000
# Fewer than this are told as a share only where there are any at all.
UNKNOWN_TOLD = 0.005


@dataclass(frozen=True, slots=True)
class RowsFound:
    """What the sampled rows say: errors for the form, warnings beside it, their lengths."""

    errors: Sequence[FieldError] = ()
    warnings: Sequence[Json] = ()
    lengths: Lengths | None = None


def judge(dataset: Dataset, model: Path, facts: ModelFacts, params: Params) -> RowsFound:
    """Read the first rows of each split and judge them by these parameters."""
    path = Path(dataset.path)
    try:
        tokenizer = row_tokenizer(model)
    except LabError as error:
        return RowsFound([told("base_model", error)])
    if tokenizer is None:
        sentence = N_("The rows were not counted in tokens: “{model}” has no tokenizer.json.")
        return RowsFound(warnings=[reason_of(sentence, model=facts.name)])
    try:
        stamps = (stamp_of(path, "*.jsonl"), stamp_of(model, "*token*"))
        sample = _measured(path, model, stamps)
    except LabError as error:
        return RowsFound([told("dataset", error)])
    return _judged(dataset, sample, facts, getattr(params, "max_length", None))


@lru_cache(maxsize=64)
def _measured(
    path: Path, model: Path, stamps: tuple[Stamp, Stamp]
) -> Mapping[str, Sequence[RowLength]]:
    """Lengths of the first rows of each split: the same for every choice of parameters."""
    tokenizer = row_tokenizer(model)
    assert tokenizer is not None, "a model without a tokenizer.json was judged before"
    labels = label_names(path)
    return {
        split: _split(file, labels, tokenizer, model) for split, file in split_files(path).items()
    }


def _split(
    file: Path, labels: tuple[str, ...], tokenizer: RowTokenizer, model: Path
) -> list[RowLength]:
    found: list[RowLength] = []
    characters = 0
    for row in islice(read_rows(file), SAMPLED_ROWS):
        read = row if isinstance(row, Problem) else read_example(row, labels)
        if isinstance(read, Problem):
            raise _bad(read.file, read.line, str(read))
        try:
            found.append(tokenizer.measure(read[1]))
        except TemplateRefused as refused:
            sentence = N_("The chat template of “{model}” refuses line {line} of {file}: {detail}.")
            values: Json = {"model": model.name, "line": row.line, "file": file.name}
            raise LabError(sentence, **values, detail=str(refused).rstrip(".")) from refused
        characters += _characters(read[1])
        if characters > SAMPLED_CHARACTERS:
            break
    return found


def _characters(example: Example) -> int:
    return sum(len(message.content) for message in example.prompt) + len(example.answer)


def _bad(file: str, line: int, reason: str) -> LabError:
    told = N_("{file}, line {line}: {reason}")
    return LabError(told, file=file, line=line, reason=reason)


def _judged(
    dataset: Dataset,
    sample: Mapping[str, Sequence[RowLength]],
    facts: ModelFacts,
    max_length: int | None,
) -> RowsFound:
    rows = [row for found in sample.values() for row in found]
    if not rows:
        return RowsFound()
    lengths = _lengths(sample.get("train") or rows)
    errors = list(_beyond_the_model(rows, facts))
    warnings = list(_unknown(rows, facts))
    if max_length is not None:
        errors += _nothing_left(dataset, sample, max_length)
        warnings += _cut(rows, max_length)
    return RowsFound(errors, warnings, lengths)


def _lengths(rows: Sequence[RowLength]) -> Lengths:
    total = sum(row.total for row in rows)
    learned = sum(row.answer for row in rows)
    return Lengths(total / len(rows), max(row.total for row in rows), learned / max(1, total))


def _beyond_the_model(rows: Sequence[RowLength], facts: ModelFacts) -> list[FieldError]:
    largest = max(row.largest_id for row in rows)
    if largest < facts.vocab_size:
        return []
    sentence = N_(
        "The tokenizer of “{model}” gives the token {token}, but the model knows only {size}. They do not belong together."
    )
    values = {"model": facts.name, "token": largest, "size": facts.vocab_size}
    return [FieldError("base_model", sentence, values)]


def _nothing_left(
    dataset: Dataset, sample: Mapping[str, Sequence[RowLength]], max_length: int
) -> list[FieldError]:
    """A split of which nothing would be learned or measured; the trainer refuses it as well."""
    empty = [
        split
        for split, rows in sample.items()
        if rows and all(row.targets(max_length) <= 0 for row in rows)
    ]
    sentence = N_(
        "With a maximum length of {limit} tokens no sampled row of “{name}” ({split}) keeps anything to learn."
    )
    values = {"limit": max_length, "name": dataset.name, "split": ", ".join(empty)}
    return [FieldError("max_length", sentence, values)] if empty else []


def _cut(rows: Sequence[RowLength], max_length: int) -> list[Json]:
    """What the maximum length takes away: first of prompts, then of answers."""
    longer = [row for row in rows if row.total > max_length]
    if not longer:
        return []
    longest = max(row.total for row in rows)
    blind = sum(row.prompt > 0 and row.answer >= max_length for row in rows)
    ends = sum(row.answer > max_length for row in rows)
    warnings = [
        reason_of(
            N_("{percent} % of the sampled rows are longer than {limit} tokens and lose the beginning of their prompt; the longest has {longest}."),
            percent=_percent(len(longer), len(rows)), limit=max_length, longest=longest,
        )
    ]  # fmt: skip
    if blind:
        told = N_("In {percent} % of them nothing of the prompt is left: the answer fills the row.")
        warnings.append(reason_of(told, percent=_percent(blind, len(rows))))
    if ends:
        told = N_("In {percent} % of them the answer itself loses its end.")
        warnings.append(reason_of(told, percent=_percent(ends, len(rows))))
    return warnings


def _unknown(rows: Sequence[RowLength], facts: ModelFacts) -> list[Json]:
    """Tokens that stand for nothing, and answers without any."""
    warnings = []
    unknown = sum(row.unknown for row in rows)
    tokens = sum(row.total for row in rows)
    if unknown > UNKNOWN_TOLD * tokens:
        told = N_("{percent} % of the tokens are unknown to the tokenizer of “{model}”.")
        warnings.append(reason_of(told, percent=_percent(unknown, tokens), model=facts.name))
    empty = sum(row.answer <= 1 for row in rows)
    if empty:
        told = N_("{percent} % of the sampled answers are empty for this tokenizer.")
        warnings.append(reason_of(told, percent=_percent(empty, len(rows))))
    return warnings


def _percent(part: int, whole: int) -> int:
    """Never 0 for some, nor 100 for not all."""
    return min(99, max(1, round(100 * part / whole))) if part < whole else 100
