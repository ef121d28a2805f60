"""The tuning labs as their shared tests see them: add a lab's variants to `CASES`, that is all."""

import importlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labs import registry
from labs.common.peft_tuning import PeftTuning
from labs.common.tuning import Tuning
from labs.contract import Json, Lab, LabContext
from tests.labs.runs import make_context, make_spec


@dataclass(frozen=True, slots=True)
class Case:
    """One lab with parameters that change what it attaches."""

    slug: str
    changes: Json = field(default_factory=dict)
    # Largest |Δlogit| of the fresh model: 0 where nothing is rounded anew.
    start: float = 0.0
    # Some parts get no gradient before others have moved.
    gradient_from_step: int = 1
    # Whether what is learned goes into the weights of the base.
    merges: bool = False
    # Largest |Δlogit| after saving and loading.
    kept: float = 0.0

    def __str__(self) -> str:
        values = (v if isinstance(v, str) else json.dumps(v) for v in self.changes.values())
        return "-".join([self.slug, *values])

    @property
    def lab(self) -> Lab:
        return registry.get(self.slug)


CASES = (
    Case("adapter", {"reduction_factor": 8}, gradient_from_step=2),
    Case("adapter", {"placement": "feed_forward", "activation": "relu"}, gradient_from_step=2),
    # What is kept is the difference to the base, which rounds once more.
    Case("bitfit", kept=1e-6),
    Case("bitfit", {"biases": "attention"}, kept=1e-6),
    Case("full"),
    Case("ia3", merges=True),
    Case("ia3", {"rescaled": ["values", "feed_forward"]}, merges=True),
    Case("lora", {"rank": 4}, gradient_from_step=2, merges=True),
    Case("lora", {"rank": 4, "variant": "rslora"}, gradient_from_step=2, merges=True),
    # DoRA divides each row by its own norm.
    Case("lora", {"rank": 4, "variant": "dora"}, start=1e-5, gradient_from_step=2, merges=True),
    Case("lora", {"rank": 4, "target_modules": "q_proj, v_proj"}, gradient_from_step=2),
    Case("p_tuning", {"encoder_width": 32}),
    Case("p_tuning", {"encoder": "lstm", "encoder_width": 8}),
    Case("p_tuning_v2"),
    Case("prefix_tuning", {"reparameterize": True, "prefix_width": 24}),
    Case("prefix_tuning"),
    Case("prompt_tuning"),
    Case("prompt_tuning", {"initialization": "random", "virtual_tokens": 3}),
)


def first_cases() -> list[Case]:
    """One of each lab."""
    return list({case.slug: case for case in reversed(CASES)}.values())[::-1]


def context(
    case: Case,
    folder: Path,
    model: Path,
    dataset: Path,
    stopping: Callable[[], bool] = lambda: False,
) -> LabContext:
    """A run of a case on a small budget."""
    return make_context(folder, make_spec(model, dataset, case.changes, lab=case.slug), stopping)


def tuning_class(case: Case) -> type[Tuning[Any, Any]]:
    """The one class of the lab's module `tuning` that is a tuning."""
    module = importlib.import_module(f"labs.peft.{case.slug}.tuning")
    (found,) = (each for each in vars(module).values() if _is_own(each, module.__name__))
    kind: type[Tuning[Any, Any]] = found
    return kind


def tuning(case: Case, run: LabContext, **params: Any) -> Tuning[Any, Any]:
    """The lab's tuning with the parameters of a case."""
    make: Any = tuning_class(case)
    given = case.lab.params.model_validate({"max_length": 64, **case.changes, **params})
    takes_run = len(inspect.signature(make).parameters) == 2
    made: Tuning[Any, Any] = make(given, run) if takes_run else make(given)
    return made


def read_by_peft(case: Case) -> bool:
    """Whether training leaves an adapter in peft's own layout."""
    kind = tuning_class(case)
    return issubclass(kind, PeftTuning) and kind.library == "peft"


def _is_own(each: object, module: str) -> bool:
    return isinstance(each, type) and issubclass(each, Tuning) and each.__module__ == module
