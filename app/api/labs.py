"""Labs as JSON."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from app import i18n
from app.api.reply import Json
from app.errors import NotFound
from app.security import Actor
from labs import registry
from labs.contract import Lab, LabError

router = APIRouter()


@router.get("/labs")
def list_labs(actor: Actor) -> Response:
    return Json({"labs": [lab_json(lab) for lab in registry.all_labs()]})


@router.get("/labs/{slug}")
def show_lab(actor: Actor, slug: str) -> Response:
    try:
        return Json(lab_json(registry.get(slug)))
    except LabError as error:
        raise NotFound(error.message, **error.values) from error


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
