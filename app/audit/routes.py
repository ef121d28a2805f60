"""Who did what, for admins to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.audit.queries import entries
from app.html import render
from app.security import Admin, Reader

router = APIRouter()


@dataclass(frozen=True, slots=True)
class AuditPage:
    """The audit log, newest first. Rendered by admin/audit.html."""

    entries: Sequence[Any]
    following: UUID | None


@router.get("/admin/audit")
def show_audit(
    request: Request, session: Reader, actor: Admin, before: UUID | None = None
) -> Response:
    page, following = entries(session, before)
    return render(request, "admin/audit.html", AuditPage(page, following))
