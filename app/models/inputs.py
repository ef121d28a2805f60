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
    created_at: Mapped[datetime]


class Dataset(Base):
    """Rows to learn from. The content never changes: another content is another dataset."""

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
    created_at: Mapped[datetime]
