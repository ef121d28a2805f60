"""Datasets and the devices as JSON."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, File, UploadFile
from starlette.responses import Response

from app.api.reply import Json
from app.api.shapes import dataset_json, device_json
from app.datasets.queries import get_dataset, list_datasets
from app.datasets.routes import add_upload
from app.devices.queries import list_devices
from app.runs import queries
from app.security import Actor, Reader, Writer

router = APIRouter()


@router.post("/datasets", status_code=201)
def upload_dataset(
    session: Writer, actor: Actor, file: Annotated[UploadFile | str, File()] = ""
) -> Response:
    """A JSON Lines file in the field `file`; it is kept only if every line is right."""
    dataset = add_upload(session, actor, file)
    shape = dataset_json(dataset)
    return Json(shape, 201, {"Location": shape["links"]["self"]})


@router.get("/datasets")
def show_datasets(session: Reader, actor: Actor) -> Response:
    found = list_datasets(session, actor)
    return Json({"datasets": [dataset_json(dataset) for dataset in found]})


@router.get("/datasets/{dataset_id}")
def show_dataset(session: Reader, actor: Actor, dataset_id: UUID) -> Response:
    dataset = get_dataset(session, actor, dataset_id)
    return Json({**dataset_json(dataset), "preview": dataset.verdict.get("preview", [])})


@router.get("/devices")
def show_devices(session: Reader, actor: Actor) -> Response:
    runs = queries.live(session, actor)
    return Json({"devices": [device_json(each, runs) for each in list_devices(session)]})
