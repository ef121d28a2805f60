"""How much room everything takes, measured on the disk."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.models import Dataset, LanguageModel, Run, RunState, User
from app.settings import get_settings
from app.storage.tidy import is_nearly_full, packed

LISTED = 20


@dataclass(frozen=True, slots=True)
class LargeRun:
    """A run and what its directory takes."""

    run_id: str
    name: str
    owner: str
    bytes: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class StoragePage:
    """Sizes by kind and person, and what is free. Rendered by admin/storage.html.

    `by_owner` gives the bytes of each person's runs and of what they uploaded.
    """

    total: int
    free: int
    nearly_full: bool
    kinds: Mapping[str, int]
    by_owner: Sequence[tuple[str, int, int]]
    largest: Sequence[LargeRun]
    orphans: int


def storage_page(session: Session) -> StoragePage:
    settings = get_settings()
    disk = shutil.disk_usage(settings.home)
    sizes = _run_sizes(settings.runs_dir)
    known = {str(row.id): row for row in session.execute(_runs()).all()}
    runs_of = Counter[str]()
    for run_id, size in sizes.items():
        if run_id in known:
            runs_of[known[run_id].owner] += size
    large = sorted((each for each in sizes if each in known), key=sizes.__getitem__, reverse=True)
    return StoragePage(
        total=disk.total,
        free=disk.free,
        nearly_full=is_nearly_full(),
        kinds={
            "runs": sum(sizes.values()),
            "datasets": folder_bytes(settings.datasets_dir),
            "downloads": sum(map(_bytes, packed())),
            "models": _model_bytes(session),
            "database": _database_bytes(settings.home),
        },
        by_owner=_by_owner(runs_of, _uploads(session)),
        largest=[
            LargeRun(
                each, known[each].name, known[each].owner, sizes[each], known[each].state.is_over
            )
            for each in large[:LISTED]
        ],
        orphans=sum(size for run_id, size in sizes.items() if run_id not in known),
    )


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder."""
    walk = os.walk(folder)
    return sum(_bytes(Path(place) / name) for place, _folders, files in walk for name in files)


def _bytes(file: Path) -> int:
    """A file that vanishes while it is looked for counts nothing."""
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0


def _run_sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    return {each.name: folder_bytes(each) for each in folder.iterdir() if each.is_dir()}


def _runs() -> Select[UUID, str, RunState, str]:
    columns = select(Run.id, Run.name, Run.state, User.name.label("owner"))
    return columns.join(User, User.id == Run.owner_id).where(Run.deleted_at.is_(None))


def _uploads(session: Session) -> dict[str, int]:
    """Bytes of each person's datasets; a content that two people sent is kept once."""
    owned = select(User.name, func.sum(Dataset.bytes)).join(User, User.id == Dataset.owner_id)
    rows = session.execute(owned.group_by(User.name))
    return {row[0]: int(row[1]) for row in rows}


def _by_owner(
    runs_of: dict[str, int], uploads_of: dict[str, int]
) -> Sequence[tuple[str, int, int]]:
    """Who takes most comes first."""
    people = [
        (name, runs_of.get(name, 0), uploads_of.get(name, 0)) for name in runs_of | uploads_of
    ]
    return sorted(people, key=lambda each: (-each[1] - each[2], each[0]))


def _model_bytes(session: Session) -> int:
    return sum(int(facts.get("bytes", 0)) for facts in session.scalars(select(LanguageModel.facts)))


def _database_bytes(home: Path) -> int:
    return sum(map(_bytes, home.glob("bunsen.db*")))
