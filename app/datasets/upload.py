"""Take a file in: counted and hashed while it arrives, checked apart, then published."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.datasets.verdicts import stored_verdict
from app.errors import Conflict, FieldError, InvalidInput
from app.i18n import N_, sentence
from app.models import Dataset, Run, User
from app.settings import get_settings
from labs.datasets import Problem, Verdict, inspect

PIECE = 1 << 20
FIELD = "file"
SUFFIXES = (".jsonl", ".json", ".ndjson")


def add_dataset(session: Session, actor: User, name: str, file: BinaryIO) -> Dataset:
    """Publish an uploaded JSON Lines file as a dataset of the actor's, or keep nothing.

    The check comes before the first query, so no lock is held while a file is read. The
    same content sent again gives the dataset that is there.

    Raises:
        InvalidInput: With a sentence for each bad line, at the field `file`.
    """
    name = dataset_name(name)
    with _quarantined(file) as (path, sha256):
        verdict = _checked(path)
        published = _publish(path, sha256)
    same = (Dataset.owner_id == actor.id, Dataset.sha256 == sha256)
    existing = session.scalar(select(Dataset).where(*same))
    if existing is not None:
        return existing
    dataset = Dataset(
        owner_id=actor.id,
        name=name,
        title=name,
        format=verdict.format,
        path=str(published),
        sha256=sha256,
        bytes=verdict.bytes,
        rows=verdict.rows,
        verdict=stored_verdict(verdict),
        created_at=clock.now(),
    )
    session.add(dataset)
    session.flush()
    return dataset


def dataset_name(filename: str) -> str:
    """A plain name out of a file's name: no folders, no odd characters."""
    stem = re.split(r"[/\\]", filename)[-1]
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:120] or "dataset"


def delete_dataset(session: Session, dataset: Dataset) -> None:
    """Forget a dataset that no run uses.

    Its file goes later (`app.storage.tidy`), if no row has its content then: somebody may be
    sending the same content at this moment.
    """
    session.execute(select(Dataset.id).where(Dataset.id == dataset.id).with_for_update())
    if uses(session, dataset):
        raise Conflict(N_("Runs use this dataset. It stays, so that they can be repeated."))
    session.delete(dataset)
    session.flush()


def uses(session: Session, dataset: Dataset) -> int:
    """How many runs learn from it."""
    counted = select(func.count()).select_from(Run).where(Run.dataset_id == dataset.id)
    return session.scalar(counted) or 0


@contextmanager
def _quarantined(file: BinaryIO) -> Iterator[tuple[Path, str]]:
    """The upload as a file of ours that nobody reads yet, and its hash; removed if still there."""
    folder = get_settings().datasets_dir / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid4()}.jsonl"
    try:
        yield path, _copy(file, path)
    finally:
        path.unlink(missing_ok=True)


def _copy(file: BinaryIO, path: Path) -> str:
    settings = get_settings()
    free = shutil.disk_usage(path.parent).free - settings.min_free_bytes
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as copy:
        while piece := file.read(PIECE):
            size += len(piece)
            if size > settings.max_upload_bytes:
                raise refused(
                    N_("The file is larger than {limit} MiB."),
                    limit=settings.max_upload_bytes >> 20,
                )
            if size > free:
                raise refused(N_("The disk of this site has no room for the file."))
            digest.update(piece)
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    if size == 0:
        raise refused(N_("The file is empty."))
    return digest.hexdigest()


def _checked(path: Path) -> Verdict:
    verdict = inspect(path)
    if verdict.ok:
        return verdict
    errors = [_line_error(problem) for problem in verdict.problems]
    if verdict.problem_count > len(errors):
        more = {"count": verdict.problem_count - len(errors)}
        errors.append(FieldError(FIELD, N_("{count} more lines are not right."), more))
    raise InvalidInput(errors, N_("The file was not kept. Correct these lines and send it again."))


def _line_error(problem: Problem) -> FieldError:
    text = sentence(problem.message, problem.values)
    if problem.line == 0:
        return FieldError(FIELD, "{problem}", {"problem": text})
    values = {"line": problem.line, "problem": text}
    return FieldError(FIELD, N_("Line {line}: {problem}"), values)


def refused(message: str, **values: object) -> InvalidInput:
    """The upload as a whole cannot be taken."""
    return InvalidInput([FieldError(FIELD, message, dict(values))])


def _publish(path: Path, sha256: str) -> Path:
    """Move a checked file to the place that its content names."""
    target = get_settings().datasets_dir / sha256[:2] / f"{sha256}.jsonl"
    target.parent.mkdir(exist_ok=True)
    os.utime(path)
    path.replace(target)
    return target
