"""The page that says what takes room."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.html import render
from app.security import Admin, Reader
from app.storage.views import storage_page

router = APIRouter()


@router.get("/admin/storage")
def show_storage(request: Request, session: Reader, actor: Admin) -> Response:
    return render(request, "admin/storage.html", storage_page(session))
