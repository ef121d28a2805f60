"""Sweeps that one button starts: of a lab, the parameter that everybody varies, and its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from app.forms import param_texts
from app.i18n import N_
from app.models import Run
from labs.contract import Lab

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ReadySweep:
    """A small form without anything to fill in."""

    title: str
    href: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class _Usual:
    """What is varied, over which values, and what must be so for all of them."""

    title: str
    parameter: str
    values: str
    fixed: Mapping[str, str]


USUAL: Mapping[str, _Usual] = {
    "pruning": _Usual(
        N_("Sweep: prune 20, 50 and 70 %"), "sparsity", "0.2, 0.5, 0.7", {"pattern": "unstructured"}
    ),
}


def ready_sweep(
    lab: Lab, start: Fields = (), seed: str = "", like: Run | None = None
) -> ReadySweep | None:
    """The usual sweep of a lab, where it has one.

    Args:
        start: Fields that say what it starts from: `base_model` and `dataset`.
        like: A run whose other parameters all its runs take.
    """
    usual = USUAL.get(lab.slug)
    if usual is None or usual.parameter not in lab.params.model_fields:
        return None
    known = like.params if like else {}
    texts = param_texts({name: known[name] for name in lab.params.model_fields if name in known})
    texts.pop(usual.parameter, None)
    fields = {
        **texts,
        **usual.fixed,
        **dict(start),
        "seed": seed,
        "vary.0.parameter": usual.parameter,
        "vary.0.how": "list",
        "vary.0.values": usual.values,
        "idempotency_key": uuid4().hex,
    }
    return ReadySweep(usual.title, f"/labs/{lab.slug}/sweeps", list(fields.items()))
