"""Write down a privileged act."""

from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.models import AuditEntry, User


def record(session: Session, actor: User | None, action: str, target: str, **detail: Any) -> None:
    """Add one line to the audit log, in the transaction of the act itself.

    `actor` is None for what the system does by itself.
    """
    session.add(
        AuditEntry(
            at=clock.now(),
            actor_id=actor.id if actor else None,
            action=action,
            target=target[:120],
            detail=detail,
        )
    )
