"""Same work as JSON: what a run could take over, and whence it has its result."""

from typing import Any

from sqlalchemy.orm import Session

from app.models import Run, User
from app.runs import same_work
from app.runs.same_work import Offer, Origin

Shape = dict[str, Any]


def offer_json(run: Run | None, offer: Offer | None) -> Shape | None:
    """A finished result of the same work; with a run that waits, also how it takes it."""
    if offer is None:
        return None
    shape = {"seed": offer.seed, **origin_json(offer.origin)}
    if run is not None:
        shape["links"] = {"take": f"/api/v1/runs/{run.id}/same-work"}
    return shape


def same_as_json(session: Session, reader: User, run: Run) -> Shape | None:
    """Where and when the result was measured that this run took over."""
    if run.same_as_id is None:
        return None
    return origin_json(same_work.origin_of(session, reader, run))


def origin_json(origin: Origin) -> Shape:
    return {
        "device": origin.device,
        "measured_at": origin.measured_at,
        "seconds": origin.seconds,
        "own_run": origin.own_run,
    }
