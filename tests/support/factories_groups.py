"""Sweeps with runs that are over, without any training."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.forms import as_text
from app.models import GroupKind, RunGroup, RunState, User
from labs.datasets import fingerprint
from labs.registry import get
from tests.runs.conftest import write_model
from tests.support.factories import NOON, add, make_dataset, make_model
from tests.support.factories_web import make_shown_run

STEPS = 20


def make_library(session: Session, folder: Path) -> None:
    """What the LoRA lab starts from by itself, as small as a preflight can read it."""
    lab = get("lora")
    rows = folder / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    make_model(session, name=lab.default_model, path=str(write_model(folder / "model")))
    make_dataset(
        session, name=lab.default_dataset, path=str(rows), bytes=rows.stat().st_size,
        sha256=fingerprint(rows),
    )  # fmt: skip


def make_group(session: Session, owner: User, **values: Any) -> RunGroup:
    defaults = {"kind": GroupKind.SWEEP, "name": "a sweep", "lab": "lora", "spec": {"vary": []}}
    group: RunGroup = add(
        session, RunGroup(owner_id=owner.id, created_at=NOON, **{**defaults, **values})
    )
    return group


def make_sweep(
    session: Session,
    owner: User,
    vary: Mapping[str, Sequence[Any]],
    states: Mapping[int, RunState] | None = None,
    **values: Any,
) -> RunGroup:
    """A grid of finished runs: each trains longer than the one before it, and so ends better."""
    spec = {"vary": [{"parameter": name, "values": list(of)} for name, of in vary.items()]}
    group = make_group(session, owner, spec=spec, **values)
    for place, combination in enumerate(product(*vary.values())):
        params = dict(zip(vary, combination, strict=True))
        state = (states or {}).get(place, RunState.SUCCEEDED)
        told = ", ".join(f"{name} {as_text(value)}" for name, value in params.items())
        make_shown_run(
            session,
            owner,
            state,
            steps=STEPS + 10 * place,
            params=params,
            name=f"lora: {told}",
            group_id=group.id,
            group_place=place,
            cause="diverged" if state is RunState.FAILED else None,
        )
    return group
