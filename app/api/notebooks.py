"""A run as a notebook that repeats it."""

import math
from uuid import UUID

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from app.api.files import DOWNLOAD
from app.api.series import dumps
from app.errors import Conflict
from app.i18n import N_
from app.metrics import store
from app.models import Run
from app.runs import queries
from app.runs.labs_of import lab_of
from app.runs.named import named_by
from app.security import Actor, Reader
from labs.contract import Lab, LabError, Params
from labs.notebook import Recipe, notebook

router = APIRouter(prefix="/runs/{run_id}")
VERSIONS = ("python", "torch", "transformers", "peft")


@router.get("/notebook")
def download_notebook(session: Reader, actor: Actor, run_id: UUID) -> Response:
    run = queries.get_run(session, actor, run_id)
    lab = lab_of(run)
    latest = store.latest(session, [run_id])[run_id]
    recipe = Recipe(
        lab=lab,
        params=_params(lab, run).model_copy(update=named_by(session, actor, run.id)),
        seed=run.seed,
        model=run.base_model.name,
        # An uploaded dataset may have the name of one that comes with Bunsen.
        dataset=run.dataset.name if run.dataset.bundled else f"{run.dataset.name}.jsonl",
        versions={key: str(run.environment[key]) for key in VERSIONS if key in run.environment},
        results={key: each.value for key, each in latest.items() if math.isfinite(each.value)},
    )
    filename = f"{lab.slug}-{str(run_id)[-8:]}.ipynb"
    headers = {**DOWNLOAD, "Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(dumps(notebook(recipe)), headers=headers, media_type="application/x-ipynb+json")


def _params(lab: Lab, run: Run) -> Params:
    try:
        return lab.params.model_validate(run.params)
    except (LabError, ValidationError) as error:
        message = N_("The lab has changed since this run; its parameters no longer fit.")
        raise Conflict(message) from error
