"""What a run would need, before it is queued: memory by part, time, where it fits, what needs less."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from app import i18n
from app.api.reply import Json, told
from app.api.same_work import offer_json
from app.api.work import Work
from app.errors import FieldError, InvalidInput
from app.i18n import N_
from app.models import User
from app.runs.costs import can_hold
from app.runs.submit import Submission, look
from app.security import Actor, Reader

router = APIRouter()
Shape = dict[str, Any]


class Wanted(Work):
    """What a run would be made of; with `device`, only that device is judged."""

    device: str | None = None


class Told(BaseModel):
    """A sentence, with its template and values."""

    message: str
    values: dict[str, Any]
    text: str


class Fit(BaseModel):
    """Whether a device could hold the run when nothing else is on it."""

    name: str
    title: str
    memory_bytes: int
    fits: bool
    reason: Told


class Alternative(BaseModel):
    """The same training in a shape that needs less memory: send `changes` with the parameters."""

    name: str
    title: str
    changes: dict[str, Any]
    memory_bytes: int = Field(description="What would be reserved, margin included.")
    fits: bool = Field(
        description="Whether one of `devices` could hold it; true where none has registered."
    )


class Estimate(BaseModel):
    """Estimated, not measured. `memory_bytes` is reserved: `corrected_bytes` and `margin_bytes`."""

    model_config = ConfigDict(extra="allow")

    memory_bytes: int
    predicted_bytes: int
    corrected_bytes: int
    margin_bytes: int
    parts: dict[str, int] = Field(description="Bytes by part; together `predicted_bytes`.")
    seconds: tuple[float, float] = Field(description="From, to.")
    devices: list[Fit]
    alternatives: list[Alternative]
    notes: list[Told]
    warnings: list[Told] = Field(description="What the first rows of the dataset say.")
    measured_runs: int = Field(description="Earlier runs that the figures were corrected by.")
    same_work: dict[str, Any] | None = Field(description="A finished result of the same work.")


@router.post("/estimates", responses={200: {"model": Estimate}})
def make_estimate(session: Reader, actor: Actor, body: Wanted) -> Response:
    return Json(_estimate(session, actor, body))


def _estimate(session: Session, actor: User, body: Wanted) -> Shape:
    outlook = look(session, actor, Submission(**body.model_dump(exclude={"device"})))
    found = outlook.estimate
    devices = [each for each in found["devices"] if body.device in (None, each["name"])]
    if body.device is not None and not devices:
        values = {"name": body.device}
        raise InvalidInput([FieldError("device", N_("There is no device “{name}”."), values)])
    return {
        **found,
        "devices": [{**each, "reason": told(each["reason"])} for each in devices],
        "notes": [told(each) for each in found["notes"]],
        "warnings": [told(each) for each in found["warnings"]],
        "alternatives": [_alternative(each, devices) for each in found["alternatives"]],
        "same_work": offer_json(None, outlook.same_work),
    }


def _alternative(option: Shape, devices: list[Shape]) -> Shape:
    sizes = [device["memory_bytes"] for device in devices]
    title = i18n.gettext(option["title"])
    return {**option, "title": title, "fits": can_hold(sizes, option["memory_bytes"])}
