"""What a run was given and what was made of it, as JSON."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.api.shapes import Shape, run_links
from app.lineage.relatives import children_of
from app.models import Dataset, LanguageModel, Run, RunResource, User


def relatives_json(session: Session, actor: User, run: Run) -> Shape:
    """The next generation and the resources of a run, beside its parent and inputs.

    Children that the reader may not see are counted only; of a run that is a resource and may not
    be seen, the id alone is told.
    """
    edges = children_of(session, actor, [run.id])
    seen = {edge.child: edge.via for edge in edges if edge.is_visible}
    children = session.scalars(select(Run).where(Run.id.in_(seen)).order_by(Run.id)).all()
    return {
        "children": [_child(child, seen[child.id]) for child in children],
        "hidden_children": len(edges) - len(seen),
        "resources": _resources(session, run),
    }


def _child(run: Run, via: str) -> Shape:
    return {
        "id": run.id,
        "name": run.name,
        "lab": run.lab,
        "state": run.state,
        "via": via or "parent_run",
        "links": {"self": run_links(run)["self"], "page": run_links(run)["page"]},
    }


def _resources(session: Session, run: Run) -> Shape:
    rows = session.execute(
        select(RunResource, LanguageModel.name, Dataset.name)
        .outerjoin(LanguageModel, LanguageModel.id == RunResource.model_id)
        .outerjoin(Dataset, Dataset.id == RunResource.dataset_id)
        .where(RunResource.run_id == run.id)
        .order_by(RunResource.name)
    )
    return {row.name: _resource(row, model, dataset) for row, model, dataset in rows}


def _resource(row: RunResource, model: str | None, dataset: str | None) -> dict[str, Any]:
    if row.model_id is not None:
        return {"kind": "model", "id": row.model_id, "name": model}
    if row.dataset_id is not None:
        return {"kind": "dataset", "id": row.dataset_id, "name": dataset}
    return {"kind": "run", "id": row.used_run_id}
