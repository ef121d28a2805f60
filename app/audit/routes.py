"""Who did what, for admins to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.audit import queries
from app.audit.sentences import SENTENCES, AuditLine, line, run_id
from app.html import render
from app.i18n import gettext
from app.identities import as_uuid
from app.security import Admin, Reader

router = APIRouter()


class AuditFilters(BaseModel):
    """What the log is narrowed to; all of it stands in the address."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    action: str = ""
    person: str = ""
    before: str = ""

    def address(self, **changes: str) -> str:
        """The log with these filters and changes."""
        values = {**self.model_dump(), "before": "", **changes}
        return "/admin/audit?" + urlencode({name: text for name, text in values.items() if text})


@dataclass(frozen=True, slots=True)
class AuditPage:
    """The audit log, newest first. Rendered by admin/audit.html."""

    lines: Sequence[AuditLine]
    filters: AuditFilters
    actions: Sequence[tuple[str, str]]
    people: Sequence[tuple[str, str]]
    following: str | None


@router.get("/admin/audit")
def show_audit(
    request: Request,
    session: Reader,
    actor: Admin,
    filters: Annotated[AuditFilters, Query()],
) -> Response:
    return render(request, "admin/audit.html", audit_page(session, filters))


def audit_page(session: Session, filters: AuditFilters) -> AuditPage:
    rows, following = queries.entries(
        session, as_uuid(filters.before), filters.action, as_uuid(filters.person)
    )
    about = {found for row in rows if (found := run_id(row.entry)) is not None}
    runs = queries.names_of_runs(session, about)
    return AuditPage(
        lines=[line(row, runs) for row in rows],
        filters=filters,
        actions=[(action, act_title(action)) for action in queries.actions(session)],
        people=[(str(person.id), person.name) for person in queries.actors(session)],
        following=filters.address(before=str(following)) if following else None,
    )


def act_title(action: str) -> str:
    """An act for a list to choose from: its sentence with dots for whom it is about."""
    return gettext(SENTENCES.get(action, action)).replace("{target}", "…")
