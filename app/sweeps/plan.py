"""From what is asked to the runs of a sweep: every combination once, named by what varies."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Any

from app.errors import FieldError
from app.forms import Field, as_text
from app.i18n import N_
from app.invalid import short
from app.runs.fields import read_params
from app.runs.preflight.fields import LARGEST_SEED, find_lab
from app.runs.submit import Submission
from app.sweeps.asked import Asked
from app.sweeps.values import check_vary, drawn, field_of, listed, refuse
from labs.contract import Lab

MOST_RUNS = 64
MOST_PARAMETERS = 2
LONGEST_NAME = 120
# Draws for each run that is wanted, before it is said that there are no more different ones.
PATIENCE = 100
DEFAULT_SEED = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a sweep before they are queued.

    Attributes:
        values: Of each run, the value of each varied parameter, as the lab reads it.
        repeated: Combinations that were left out because another run is the same.
    """

    submissions: Sequence[Submission]
    values: Sequence[tuple[Any, ...]]
    repeated: int


def plan_of(asked: Asked) -> Plan:
    """The runs that are asked for.

    Raises:
        InvalidInput: With every field that does not hold.
    """
    lab = find_lab(asked.base.lab)
    refuse(_check(lab, asked))
    fields = [field_of(lab, each.parameter) for each in asked.vary]
    axes = [field for field in fields if field is not None]
    refuse(_check_size(asked, axes))
    kept: dict[str, tuple[Submission, tuple[Any, ...]]] = {}
    repeated = 0
    for combination in _combinations(asked, axes):
        submission, values, mark = _run(lab, asked, combination)
        if mark in kept:
            repeated += 1
        else:
            kept[mark] = (submission, values)
        if asked.method == "random" and len(kept) == asked.runs:
            break
    if len(kept) < 2:
        told = N_("All values come to the same: a sweep needs at least two different runs.")
        refuse([FieldError("vary.0.values", told)])
    runs = list(kept.values())
    return Plan(
        [each for each, _values in runs],
        [values for _each, values in runs],
        repeated if asked.method == "grid" else 0,
    )


def group_name(asked: Asked) -> str:
    """The name it was given, or the lab and what varies."""
    varied = " × ".join(each.parameter for each in asked.vary)
    return asked.base.name or _cut(f"{asked.base.lab}: {varied}")


def _check(lab: Lab, asked: Asked) -> list[FieldError]:
    if not asked.vary:
        return [FieldError("vary.0.parameter", N_("Choose a parameter to vary."))]
    if len(asked.vary) > MOST_PARAMETERS:
        told = N_("At most {most} parameters can vary in one sweep.")
        return [FieldError("vary", told, {"most": MOST_PARAMETERS})]
    names = [each.parameter for each in asked.vary]
    if len(set(names)) < len(names):
        return [FieldError("vary.1.parameter", N_("Choose two different parameters."))]
    errors = [
        error
        for place, each in enumerate(asked.vary)
        for error in check_vary(lab, each, f"vary.{place}")
    ]
    if asked.method == "random" and not 2 <= (asked.runs or 0) <= MOST_RUNS:
        told = N_("Draw 2 to {most} runs.")
        errors.append(FieldError("runs", told, {"most": MOST_RUNS}))
    if not 0 <= asked.draw_seed <= LARGEST_SEED:
        told = N_("The seed {seed} does not fit: allowed is 0 to {largest}.")
        values = {"seed": short(asked.draw_seed), "largest": LARGEST_SEED}
        errors.append(FieldError("draw_seed", told, values))
    return errors


def _check_size(asked: Asked, axes: Sequence[Field]) -> list[FieldError]:
    if asked.method == "random":
        return []
    runs = 1
    for field, vary in zip(axes, asked.vary, strict=True):
        runs *= len({as_text(value) for value in listed(field, vary)})
    if runs <= MOST_RUNS:
        return []
    told = N_("These are {runs} runs; at most {most} may start together. Choose fewer values, or draw some of the combinations at random.")  # fmt: skip
    return [FieldError("", told, {"runs": runs, "most": MOST_RUNS})]


def _combinations(asked: Asked, axes: Sequence[Field]) -> Iterable[tuple[Any, ...]]:
    if asked.method == "random":
        return _draws(asked, axes)
    return product(*(listed(field, vary) for field, vary in zip(axes, asked.vary, strict=True)))


def _draws(asked: Asked, axes: Sequence[Field]) -> Iterator[tuple[Any, ...]]:
    random = Random(asked.draw_seed)
    for _try in range(PATIENCE * (asked.runs or 0)):
        yield tuple(
            drawn(field, vary, random) for field, vary in zip(axes, asked.vary, strict=True)
        )


def _run(
    lab: Lab, asked: Asked, combination: Sequence[Any]
) -> tuple[Submission, tuple[Any, ...], str]:
    """A run, its values as the lab reads them, and what makes it the same as another.

    Values that do not go together stay as they were given: the preflight says why.
    """
    names = [each.parameter for each in asked.vary]
    given = {**asked.base.params, **dict(zip(names, combination, strict=True))}
    params, _errors = read_params(lab.params, given)
    read = params.model_dump(mode="json") if params is not None else given
    values = tuple(read[name] for name in names)
    pairs = zip(names, values, strict=True)
    told = ", ".join(f"{name} {as_text(value) or '–'}" for name, value in pairs)
    submission = replace(
        asked.base,
        params=given,
        name=_cut(f"{lab.slug}: {told}"),
        seed=DEFAULT_SEED if asked.base.seed is None else asked.base.seed,
        idempotency_key=None,
    )
    return submission, values, json.dumps(values, sort_keys=True, default=str)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
