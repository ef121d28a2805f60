"""Lists of groups: each with how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.groups import queries
from app.groups.progress import Progress
from app.models import Role, RunGroup, User

LISTED = 100
RECENT = 4


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group in a list. Rendered by groups/_lines.html."""

    group: RunGroup
    progress: Progress
    href: str


@dataclass(frozen=True, slots=True)
class GroupsPage:
    """The groups a person may see, newest first. Rendered by groups/index.html."""

    groups: Sequence[GroupLine]
    with_owner: bool


def groups_page(session: Session, actor: User) -> GroupsPage:
    found = queries.list_groups(session, actor, limit=LISTED)
    return GroupsPage(group_lines(session, found), actor.role is not Role.STUDENT)


def recent_groups(session: Session, actor: User) -> list[GroupLine]:
    """A person's own newest groups, for pages about other things."""
    return group_lines(session, queries.list_groups(session, actor, owner=actor.id, limit=RECENT))


def group_lines(session: Session, groups: Sequence[RunGroup]) -> list[GroupLine]:
    far = queries.progress(session, groups)
    return [GroupLine(each, far[each.id], address_of(each)) for each in groups]


def address_of(group: RunGroup) -> str:
    """The page of a group: `/sweeps/…` or `/scoreboards/…`."""
    return f"/{group.kind.value}s/{group.id}"
