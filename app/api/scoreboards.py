"""Scoreboards as JSON: start, look, cancel."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.api.reply import Body, Json, told
from app.api.series import number
from app.api.shapes import queue_json, run_links
from app.database import commit, reading
from app.errors import FieldError, InvalidInput
from app.groups.cancel import cancel_group
from app.groups.queries import get_group, list_groups, progress
from app.i18n import N_
from app.models import GroupKind, Run, RunGroup, User
from app.scoreboards.figures import Figures
from app.scoreboards.naming import method_name
from app.scoreboards.plan import RATE, Wanted, methods
from app.scoreboards.start import start_scoreboard
from app.scoreboards.tradeoff import Tradeoff, tradeoff_of
from app.scoreboards.views import Measured, measured_of
from app.security import Actor, Reader, Writer
from labs.contract import Lab

router = APIRouter(prefix="/scoreboards")
Shape = dict[str, Any]
LISTED = 100


class NewScoreboard(Body):
    """Methods with one budget for all; what is left out is the labs' own, and all methods."""

    methods: list[str] | None = None
    base_model: str | None = None
    dataset: str | None = None
    seed: int | None = None
    steps: int | None = None
    budget: dict[str, Any] = Field(default_factory=dict)
    learning_rates: dict[str, Any] = Field(default_factory=dict)
    alone: bool = True
    name: str = ""


@router.post("", status_code=201)
def start(
    session: Writer,
    actor: Actor,
    body: NewScoreboard,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """One run for each method, all or none."""
    group = start_scoreboard(session, actor, _wanted(body), idempotency_key)
    commit(session)  # the dispatcher looks once it is committed
    with reading() as fresh:
        shape = _whole(fresh, actor, get_group(fresh, actor, group.id))
    return Json(shape, 201, {"Location": shape["links"]["self"]})


def _wanted(body: NewScoreboard) -> Wanted:
    if body.steps is not None and body.budget.get("steps", body.steps) != body.steps:
        told = N_("The number of steps is given twice, and not alike.")
        raise InvalidInput([FieldError("steps", told)])
    budget = body.budget if body.steps is None else {**body.budget, "steps": body.steps}
    every = [lab.slug for lab in methods()]
    return Wanted(
        methods=every if body.methods is None else body.methods,
        base_model=body.base_model,
        dataset=body.dataset,
        budget=budget,
        rates=body.learning_rates,
        seed=body.seed,
        name=body.name,
        alone=body.alone,
    )


@router.get("")
def show_all(session: Reader, actor: Actor) -> Response:
    groups = list_groups(session, actor, kind=GroupKind.SCOREBOARD, limit=LISTED)
    done = progress(session, groups)
    lines = [{**_line(each), "states": done[each.id].states} for each in groups]
    return Json({"scoreboards": lines})


@router.get("/{group_id}")
def show(
    session: Reader, actor: Actor, group_id: UUID, cost: str = "", quality: str = ""
) -> Response:
    group = get_group(session, actor, group_id, GroupKind.SCOREBOARD)
    return Json(_whole(session, actor, group, cost, quality))


@router.post("/{group_id}/cancellation", status_code=202)
def cancel(session: Writer, actor: Actor, group_id: UUID) -> Response:
    group = cancel_group(session, actor, group_id, GroupKind.SCOREBOARD)
    return Json(_line(group), 202)


def _line(group: RunGroup) -> Shape:
    own = f"/api/v1/scoreboards/{group.id}"
    page = f"/scoreboards/{group.id}"
    return {
        "id": group.id,
        "name": group.name,
        "owner": {"id": group.owner_id, "name": group.owner.name},
        **{name: group.spec.get(name) for name in ("methods", "budget", "seed", "alone")},
        "created_at": group.created_at,
        "cancelled_at": group.cancelled_at,
        "links": {
            "self": own,
            "page": page,
            "table": f"{page}/table.csv",
            "cancellation": f"{own}/cancellation",
        },
    }


def _whole(
    session: Session, actor: User, group: RunGroup, cost: str = "", quality: str = ""
) -> Shape:
    found = measured_of(session, actor, group)
    tradeoff = tradeoff_of(found.entries, found.headings, cost, quality)
    first = found.runs[0]
    return {
        **_line(group),
        "base_model": first.base_model.name,
        "dataset": {
            "id": first.dataset_id,
            "name": first.dataset.name,
            "sha256": first.dataset.sha256,
        },
        "states": found.progress.states,
        "is_over": found.progress.is_over,
        "columns": _columns(found),
        "rows": [
            _row(run, lab, found.figures[run.id], found.devices[run.id])
            for run, lab in zip(found.runs, found.labs, strict=True)
        ],
        "warnings": [told(each) for each in found.warnings],
        "tradeoff": tradeoff_json(tradeoff) if tradeoff else None,
    }


def _columns(found: Measured) -> list[Shape]:
    return [
        {
            "name": each.name,
            "title": each.title,
            "metric": each.key,
            "unit": each.unit,
            "direction": each.direction,
            "measured": each.source,
        }
        for each in found.headings
    ]


def _row(run: Run, lab: Lab, figures: Figures, device: str) -> Shape:
    return {
        "method": run.lab,
        "title": method_name(lab),
        "run": {"id": run.id, "name": run.name, "state": run.state, "cause": run.cause},
        "reason": told(run.reason),
        "queue": None if run.state.is_over else queue_json(run),
        "device": device,
        "learning_rate": run.params.get(RATE),
        "figures": _figures(figures),
        "links": run_links(run),
    }


def _figures(figures: Figures) -> Mapping[str, Shape]:
    return {
        name: {
            "value": number(each.value),
            "untouched": number(each.base),
            "step": each.step,
            "values": each.count,
        }
        for name, each in figures.items()
    }


def tradeoff_json(found: Tradeoff) -> Shape:
    """The front and what it beats, by the names of entries, and the same in words."""
    return {
        "quality": found.quality.name,
        "cost": found.cost.name,
        "front": found.best,
        "dominated": found.beaten,
        "text": found.told,
    }
