"""Ids as people and scripts write them."""

from uuid import UUID


def as_uuid(text: str) -> UUID | None:
    """The id in a text; None where it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
