"""Sweeps as JSON: start, list, look, cancel."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from pydantic import ConfigDict, Field, model_validator
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.api.groups import group_json
from app.api.reply import Body, Json
from app.api.series import number
from app.api.shapes import run_line
from app.api.work import Work
from app.database import commit, reading
from app.groups.cancel import cancel_group
from app.groups.queries import get_group, list_groups, progress
from app.i18n import N_, gettext
from app.models import GroupKind, Run, RunGroup, User
from app.runs.submit import Submission
from app.security import Actor, Reader, Writer
from app.sweeps.asked import Asked, Span, Vary
from app.sweeps.found import Found, find
from app.sweeps.plan import MOST_RUNS
from app.sweeps.start import start_sweep

router = APIRouter(prefix="/sweeps")
Shape = dict[str, Any]
MOST_VALUES = 256


class Varied(Body):
    """A parameter with a list of values, or with a range: from, to, scale, and count of a grid."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    parameter: str
    values: list[Any] | None = Field(default=None, max_length=MOST_VALUES)
    low: float | None = Field(default=None, alias="from")
    high: float | None = Field(default=None, alias="to")
    count: int = 5
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _one_of_both(self) -> "Varied":
        ends = (self.low, self.high)
        if (None in ends) if self.values is None else ends != (None, None):
            raise ValueError(gettext(N_("Give either values, or from and to.")))
        return self

    def vary(self) -> Vary:
        if self.low is None or self.high is None:
            return Vary(self.parameter, self.values or [])
        return Vary(self.parameter, span=Span(self.low, self.high, self.count, self.scale))


class NewSweep(Work):
    """What varies, and what all runs share; what is left out is the lab's own.

    All runs have one seed. `runs` and `draw_seed` are of a random sweep.
    """

    vary: list[Varied]
    method: Literal["grid", "random"] = "grid"
    runs: int | None = Field(default=None, description=f"2 to {MOST_RUNS}.")
    draw_seed: int = 0
    name: str = ""
    reuse: bool = False

    def asked(self) -> Asked:
        names = (*Work.model_fields, "name", "reuse")
        base = Submission(**{name: getattr(self, name) for name in names})
        vary = [each.vary() for each in self.vary]
        return Asked(base, vary, self.method, self.runs, self.draw_seed)


@router.post("", status_code=201)
def start(
    session: Writer,
    actor: Actor,
    body: NewSweep,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    group = start_sweep(session, actor, body.asked(), idempotency_key)
    commit(session)  # the dispatcher looks once it is committed
    with reading() as fresh:
        shape = sweep_json(fresh, actor, get_group(fresh, actor, group.id))
    return Json(shape, 201, {"Location": shape["links"]["self"]})


@router.get("")
def list_sweeps(
    session: Reader, actor: Actor, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Response:
    found = list_groups(session, actor, kind=GroupKind.SWEEP, limit=limit)
    far = progress(session, found)
    return Json({"sweeps": [group_json(each, far[each.id]) for each in found]})


@router.get("/{sweep_id}")
def show(session: Reader, actor: Actor, sweep_id: UUID, metric: str = "") -> Response:
    """With `metric`, runs are judged by it instead of by the lab's headline."""
    group = get_group(session, actor, sweep_id, GroupKind.SWEEP)
    return Json(sweep_json(session, actor, group, metric))


@router.post("/{sweep_id}/cancellation", status_code=202)
def cancel(session: Writer, actor: Actor, sweep_id: UUID) -> Response:
    group = cancel_group(session, actor, sweep_id, GroupKind.SWEEP)
    session.flush()
    return Json(group_json(group, progress(session, [group])[group.id]), 202)


def sweep_json(session: Session, actor: User, group: RunGroup, metric: str = "") -> Shape:
    """A sweep with its runs, what came of each, and which is best."""
    found = find(session, actor, group, metric)
    judge = found.metric
    return {
        **group_json(group, progress(session, [group])[group.id]),
        "vary": [{"parameter": axis.parameter, "title": axis.title} for axis in found.axes],
        "spec": group.spec,
        "metric": {"key": judge.key, "unit": judge.unit, "direction": judge.direction},
        "best": {"run": found.best.run_id, "why": found.best.why, "final": found.best.is_final}
        if found.best
        else None,
        "runs": [_run(found, run) for run in found.runs],
    }


def _run(found: Found, run: Run) -> Shape:
    outcome = found.outcomes[run.id]
    names = [axis.parameter for axis in found.axes]
    return {
        **run_line(run),
        "place": run.group_place,
        "values": dict(zip(names, found.at(run), strict=True)),
        "result": {
            "final": number(outcome.final),
            "best": number(outcome.best),
            "best_step": outcome.step,
        },
    }
