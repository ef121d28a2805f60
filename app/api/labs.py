"""Labs as JSON, and what a run would need."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from app import i18n
from app.api.reply import Body, Json, told
from app.api.same_work import offer_json
from app.errors import FieldError, InvalidInput, NotFound
from app.i18n import N_
from app.runs.submit import Submission, look
from app.security import Actor, Reader
from labs import registry
from labs.contract import Lab, LabError

router = APIRouter()


class Estimate(Body):
    """What a run would be made of."""

    lab: str
    params: dict[str, Any] = Field(default_factory=dict)
    stages: list[str] | None = None
    base_model: str | None = None
    dataset: str | None = None
    seed: int | None = None
    parent_run: UUID | None = None
    device: str | None = None


@router.get("/labs")
def list_labs(actor: Actor) -> Response:
    return Json({"labs": [lab_json(lab) for lab in registry.all_labs()]})


@router.get("/labs/{slug}")
def show_lab(actor: Actor, slug: str) -> Response:
    try:
        return Json(lab_json(registry.get(slug)))
    except LabError as error:
        raise NotFound(error.message, **error.values) from error


@router.post("/estimates")
def make_estimate(session: Reader, actor: Actor, body: Estimate) -> Response:
    outlook = look(session, actor, Submission(**body.model_dump(exclude={"device"})))
    found = outlook.estimate
    devices = [{**each, "reason": told(each["reason"])} for each in found["devices"]]
    if body.device is not None:
        devices = [each for each in devices if each["name"] == body.device]
        if not devices:
            values = {"name": body.device}
            raise InvalidInput([FieldError("device", N_("There is no device “{name}”."), values)])
    shape = {
        **found,
        "devices": devices,
        "notes": [told(each) for each in found["notes"]],
        "warnings": [told(each) for each in found["warnings"]],
        "alternatives": [
            {**each, "title": i18n.gettext(each["title"])} for each in found["alternatives"]
        ],
        "same_work": offer_json(None, outlook.same_work),
    }
    return Json(shape)


def lab_json(lab: Lab) -> dict[str, Any]:
    return {
        "slug": lab.slug,
        "chapter": lab.chapter,
        "title": i18n.gettext(lab.title),
        "titles": {code: _in(code, lab.title) for code in i18n.LANGUAGES},
        "summary": i18n.gettext(lab.summary),
        "stages": [
            {
                "name": stage.name,
                "title": i18n.gettext(stage.title),
                "summary": i18n.gettext(stage.summary),
            }
            for stage in lab.stages
        ],
        "metrics": [asdict(metric) for metric in lab.metrics],
        "headline": lab.headline,
        "params": lab.params.model_json_schema(),
        "presets": dict(lab.presets),
        "accepts": {
            "formats": sorted(lab.accepts.formats),
            "parents": sorted(lab.accepts.parents),
        },
        "produces": list(lab.produces),
        "default_model": lab.default_model,
        "default_dataset": lab.default_dataset,
        "sources": [asdict(source) for source in lab.sources],
    }


def _in(language: str, text: str) -> str:
    found = i18n.catalogue(language).get(text, text)
    return found if isinstance(found, str) else found[0]
