"""Whether running text is long enough to calibrate with: at least one block of it."""

from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from app.errors import FieldError
from app.i18n import N_
from app.runs.preflight.fields import told
from app.runs.preflight.stamps import Stamp, stamp_of
from app.runs.preflight.tokens import TemplateRefused, row_tokenizer
from labs.contract import LabError, Params
from labs.dataset_check import read_example
from labs.jsonl import Problem, read_rows
from labs.splits import label_names, split_files

# Text of so many rows without a block's tokens is not read further here; the run itself looks again.
MOST_ROWS = 20_000


def long_enough(text: Path, model: Path, params: Params) -> list[FieldError]:
    """What is wrong with calibrating on this text, by the tokens of this model: at most one sentence."""
    length = getattr(params, "calibration_length", None)
    if length is None:
        return []
    try:
        stamps = (stamp_of(text, "*.jsonl"), stamp_of(model, "*token*"))
        found = _tokens(text, model, length, stamps)
    except LabError as error:
        return [told("calibration", error)]
    except TemplateRefused:
        return []  # the rows' own judge says so, with the line
    if found is None or found >= length:
        return []
    sentence = N_(
        "The calibration text has {tokens} tokens, fewer than one block of {length}. Choose a shorter length or more text."
    )
    return [FieldError("calibration_length", sentence, {"tokens": found, "length": length})]


@lru_cache(maxsize=64)
def _tokens(text: Path, model: Path, enough: int, stamps: tuple[Stamp, Stamp]) -> int | None:
    """Tokens of the training split, counted until there are enough; None without a tokenizer."""
    tokenizer = row_tokenizer(model)
    if tokenizer is None:
        return None
    labels = label_names(text)
    files = split_files(text)
    wanted = [files["train"]] if "train" in files else list(files.values())
    total = 0
    for row in islice(chain.from_iterable(map(read_rows, wanted)), MOST_ROWS):
        read = row if isinstance(row, Problem) else read_example(row, labels)
        if not isinstance(read, Problem):
            total += tokenizer.measure(read[1]).total
        if total >= enough:
            break
    return total
