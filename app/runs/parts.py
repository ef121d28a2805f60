"""The parts of an estimate of memory, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.i18n import N_, gettext

PART_TITLES: Mapping[str, str] = {
    "weights": N_("Weights"),
    "adapters": N_("What is added"),
    "gradients": N_("Gradients"),
    "optimizer": N_("Optimizer state"),
    "best": N_("Copy of the best weights"),
    "activations": N_("Activations"),
    "logits": N_("Logits"),
    "fragments": N_("Fragments of the allocator"),
    "library": N_("Python and libraries"),
    "evaluation": N_("Evaluation, beyond training"),
    "merging": N_("Merging at the end"),
    "calibration": N_("Calibration text inside the model"),
    "integers": N_("The quantized weights"),
    "second_student": N_("The student that learns alone"),
    "cache": N_("Keys and values of requests"),
    "observed": N_("What is gathered of the inputs"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the memory, in bytes."""

    name: str
    title: str
    bytes: int


def parts_of(estimated: Mapping[str, int]) -> list[Part]:
    """The parts that take anything, in the order they were estimated."""
    return [
        Part(name, gettext(PART_TITLES.get(name, name)), size)
        for name, size in estimated.items()
        if size
    ]
