"""What runs start from: base models and datasets."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id


class LanguageModel(Base):
    """A base model of the library: a Hugging Face folder on this site."""

    __tablename__ = "language_models"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    path: Mapped[str] = mapped_column(String(1024))
    facts: Mapped[dict[str, Any]]
    bundled: Mapped[bool] = mapped_column(default=False)
    # "bundled", "folder" (an admin's) or "hub"; of the last, its id and commit.
    origin: Mapped[str] = mapped_column(String(16), default="folder", server_default="folder")
    hub_id: Mapped[str | None] = mapped_column(String(200))
    revision: Mapped[str] = mapped_column(String(64), default="", server_default="")
    license: Mapped[str] = mapped_column(String(120), default="", server_default="")
    # Taken out of the library: runs still point at it, new ones cannot start from it.
    retired_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Dataset(Base):
    """Rows to learn from. The content never changes: another content is another dataset, which
    is the next `version` where owner and name are the same."""

    __tablename__ = "datasets"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    title: Mapped[str] = mapped_column(String(200), default="")
    format: Mapped[str] = mapped_column(String(32))
    path: Mapped[str] = mapped_column(String(1024))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    verdict: Mapped[dict[str, Any]]
    bundled: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    # What was sent; on disk it is JSON Lines whatever it was.
    file_name: Mapped[str] = mapped_column(String(255), default="", server_default="")
    file_format: Mapped[str] = mapped_column(String(16), default="jsonl", server_default="jsonl")
    created_at: Mapped[datetime]


class DatasetShare(Base):
    """A class whose members may look at and learn from somebody's dataset."""

    __tablename__ = "dataset_shares"

    dataset_id: Mapped[UUID] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    classroom_id: Mapped[UUID] = mapped_column(
        ForeignKey("classrooms.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    shared_by_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
