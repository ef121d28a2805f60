"""Runs beside each other, as a page."""

from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.compare.address import MOST_RUNS
from app.compare.views import compare_page
from app.errors import FieldError, InvalidInput
from app.html import render
from app.i18n import N_
from app.security import Actor, Reader

router = APIRouter()


@router.get("/compare")
def show(
    request: Request,
    session: Reader,
    actor: Actor,
    runs: list[str] = Query(default=[]),  # noqa: B008
    quality: str = "",
    cost: str = "",
) -> Response:
    """`?runs=a,b,c`, or one `runs` for each, as the list's checkboxes send them; `quality` and
    `cost` choose the axes of their picture."""
    page = compare_page(session, actor, run_ids(runs), quality, cost)
    return render(request, "compare/show.html", page)


def run_ids(texts: list[str]) -> list[UUID]:
    """The runs in the address, each once."""
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    try:
        found = list(dict.fromkeys(UUID(word) for word in words))
    except ValueError:
        raise InvalidInput([FieldError("runs", N_("This is not the id of a run."))]) from None
    if len(found) > MOST_RUNS:
        problem = N_("At most {most} runs can be compared at once.")
        raise InvalidInput([FieldError("runs", problem, {"most": MOST_RUNS})])
    return found
