"""How much room everything takes, measured on the disk."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.models import LanguageModel, Run, User
from app.settings import get_settings

LISTED = 20
NEARLY_FULL = 0.8


@dataclass(frozen=True, slots=True)
class LargeRun:
    """A run and what its directory takes."""

    run_id: str
    name: str
    owner: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoragePage:
    """Sizes by kind and person, and what is free. Rendered by admin/storage.html."""

    total: int
    free: int
    nearly_full: bool
    kinds: Mapping[str, int]
    by_owner: Sequence[tuple[str, int]]
    largest: Sequence[LargeRun]
    orphans: int


def storage_page(session: Session) -> StoragePage:
    settings = get_settings()
    disk = shutil.disk_usage(settings.home)
    sizes = _run_sizes(settings.runs_dir)
    known = {str(row.id): row for row in session.execute(_runs()).all()}
    by_owner = Counter[str]()
    for run_id, size in sizes.items():
        if run_id in known:
            by_owner[known[run_id].owner] += size
    large = sorted((each for each in sizes if each in known), key=sizes.__getitem__, reverse=True)
    return StoragePage(
        total=disk.total,
        free=disk.free,
        nearly_full=disk.used > NEARLY_FULL * disk.total,
        kinds={
            "runs": sum(sizes.values()),
            "datasets": folder_bytes(settings.datasets_dir),
            "models": _model_bytes(session),
            "database": _database_bytes(settings.home),
        },
        by_owner=by_owner.most_common(),
        largest=[
            LargeRun(each, known[each].name, known[each].owner, sizes[each])
            for each in large[:LISTED]
        ],
        orphans=sum(size for run_id, size in sizes.items() if run_id not in known),
    )


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder; one that vanishes meanwhile counts nothing."""
    total = 0
    for place, _folders, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(place) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _run_sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    return {each.name: folder_bytes(each) for each in folder.iterdir() if each.is_dir()}


def _runs() -> Select[UUID, str, str]:
    return select(Run.id, Run.name, User.name.label("owner")).join(User, User.id == Run.owner_id)


def _model_bytes(session: Session) -> int:
    return sum(int(facts.get("bytes", 0)) for facts in session.scalars(select(LanguageModel.facts)))


def _database_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in home.glob("bunsen.db*"))
