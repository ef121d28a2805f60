"""People, how they get in, and their classes."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, String, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, new_id, stored_enum


class Role(StrEnum):
    STUDENT = "student"
    INSTRUCTOR = "instructor"
    ADMIN = "admin"


class User(Base):
    """A person. Without a password they enter by a one-time link."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[Role] = mapped_column(stored_enum(Role))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    language: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class EntryLink(Base):
    """A link that lets one person in once. Only its digest is kept."""

    __tablename__ = "entry_links"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")


class LoginSession(Base):
    """A signed-in browser. Deleting the row signs it out."""

    __tablename__ = "login_sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    agent: Mapped[str] = mapped_column(String(255), default="")
    address: Mapped[str] = mapped_column(String(64), default="")

    user: Mapped[User] = relationship(lazy="raise")


class ApiToken(Base):
    """A bearer token for scripts. Only its digest is kept."""

    __tablename__ = "api_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")


class Classroom(Base):
    """A class, and how much of the devices it and each of its people may take.

    A limit of None leaves it to the site's settings. Device-seconds count over the last day.
    """

    __tablename__ = "classrooms"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    created_at: Mapped[datetime]
    max_waiting: Mapped[int | None]
    max_running: Mapped[int | None]
    max_device_seconds: Mapped[int | None]
    max_waiting_per_person: Mapped[int | None]
    max_running_per_person: Mapped[int | None]
    max_device_seconds_per_person: Mapped[int | None]
    # Whether a student is offered the result of a finished run of the same work.
    offers_same_work: Mapped[bool] = mapped_column(default=True, server_default=true())


class ClassSession(Base):
    """A lab hour: from `starts_at` to `ends_at` the devices are first of all for this class."""

    __tablename__ = "class_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    classroom_id: Mapped[UUID] = mapped_column(
        ForeignKey("classrooms.id", ondelete="CASCADE"), index=True
    )
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    # After so long a run makes room for another of the class that waits.
    slice_seconds: Mapped[int]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]

    classroom: Mapped[Classroom] = relationship(lazy="raise")


class Enrollment(Base):
    """One person in one class; instructors teach it, students learn in it."""

    __tablename__ = "enrollments"

    classroom_id: Mapped[UUID] = mapped_column(
        ForeignKey("classrooms.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[Role] = mapped_column(stored_enum(Role))

    user: Mapped[User] = relationship(lazy="raise")
    classroom: Mapped[Classroom] = relationship(lazy="raise")
