"""Datasets and the devices as JSON."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, File, Form, UploadFile
from starlette.responses import Response

from app.api.reply import Json
from app.api.shapes import dataset_json, dataset_profile_json, device_json
from app.datasets.queries import get_dataset, list_datasets
from app.datasets.routes import add_upload
from app.datasets.upload import add_pasted
from app.devices.queries import list_devices
from app.runs import queries
from app.security import Actor, Reader, Writer

router = APIRouter()


@router.post("/datasets", status_code=201)
def upload_dataset(
    session: Writer,
    actor: Actor,
    file: Annotated[UploadFile | str, File()] = "",
    rows: Annotated[str | None, Form()] = None,
    name: Annotated[str, Form()] = "",
) -> Response:
    """A file in the field `file`: JSON Lines, JSON, CSV, Parquet or plain text; or text in `rows`.

    It is kept only if every row is right. The same content sent again gives the same dataset,
    another content under the same name its next version.
    """
    if rows is None:
        dataset = add_upload(session, actor, file)
    else:
        dataset = add_pasted(session, actor, name, rows)
    shape = dataset_profile_json(dataset)
    return Json(shape, 201, {"Location": shape["links"]["self"]})


@router.get("/datasets")
def show_datasets(session: Reader, actor: Actor) -> Response:
    found = list_datasets(session, actor)
    return Json({"datasets": [dataset_json(dataset) for dataset in found]})


@router.get("/datasets/{dataset_id}")
def show_dataset(session: Reader, actor: Actor, dataset_id: UUID) -> Response:
    dataset = get_dataset(session, actor, dataset_id)
    return Json(dataset_profile_json(dataset))


@router.get("/devices")
def show_devices(session: Reader, actor: Actor) -> Response:
    runs = queries.live(session, actor)
    return Json({"devices": [device_json(each, runs) for each in list_devices(session)]})
