"""Base models as JSON."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from app.api.reply import Json, told
from app.library.acceptance import Acceptance, acceptances
from app.library.queries import get_model, list_models
from app.library.views import problem_of
from app.models import LanguageModel
from app.security import Actor, Reader

router = APIRouter()
INSIDE = frozenset({"stamp", "matrices", "sublayers"})


@router.get("/models")
def show_models(session: Reader, actor: Actor, q: str = "") -> Response:
    """The base models that runs may start from."""
    found = list_models(session, q.replace("\0", "").strip()[:100])
    return Json({"models": [model_json(model) for model in found]})


@router.get("/models/{model_id}")
def show_model(session: Reader, actor: Actor, model_id: UUID) -> Response:
    """Everything known of a base model, and which labs take it."""
    model = get_model(session, model_id)
    return Json({**model_json(model), "labs": _labs(acceptances(session, model))})


def model_json(model: LanguageModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "origin": model.origin,
        "bundled": model.bundled,
        "hub_id": model.hub_id,
        "revision": model.revision or None,
        "license": model.license or None,
        "facts": {name: value for name, value in model.facts.items() if name not in INSIDE},
        "problem": told(problem_of(model)),
        "retired_at": model.retired_at,
        "created_at": model.created_at,
        "links": {"self": f"/api/v1/models/{model.id}", "page": f"/library/{model.id}"},
    }


def _labs(found: Sequence[Acceptance]) -> list[dict[str, Any]]:
    return [
        {
            "lab": each.lab.slug,
            "accepted": each.refusal is None,
            "reason": told(each.refusal),
            "memory_bytes": each.memory_bytes,
            "fits": list(each.fits),
        }
        for each in found
    ]
