"""Take a file in: counted while it arrives, checked apart, then published as JSON Lines."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app import clock
from app.datasets.apart import TooHard, check
from app.datasets.verdicts import stored_verdict
from app.errors import Conflict, FieldError, InvalidInput
from app.i18n import N_, sentence
from app.models import Dataset, Run, RunResource, User
from app.settings import get_settings
from labs.datasets import Problem, Verdict
from labs.files.kinds import SUFFIXES
from labs.intake import Order

PIECE = 1 << 20
FIELD, PASTED = "file", "rows"
LINE = N_("Line {line}: {problem}")


def add_dataset(session: Session, actor: User, name: str, file: BinaryIO) -> Dataset:
    """Publish an uploaded file as a dataset of the actor's, or keep nothing.

    The check comes before the first query, so no lock is held while a file is read. The
    same content sent again gives the dataset that is there; another content under a name of
    the actor's becomes its next version.

    Raises:
        InvalidInput: With a sentence for each bad line, at the field `file`.
    """
    return _added(session, actor, Sent(name, file))


def add_pasted(session: Session, actor: User, name: str, text: str) -> Dataset:
    """The same for rows that were typed: JSON Lines, a JSON list or CSV with a header.

    Raises:
        InvalidInput: With a sentence for each bad line, at the field `rows`.
    """
    if not text.strip():
        raise _refused(PASTED, N_("Put a few rows here."))
    try:
        content = BytesIO(text.encode())
    except UnicodeEncodeError:
        raise _refused(PASTED, N_("The text holds half a surrogate pair.")) from None
    return _added(session, actor, Sent(name.strip() or "rows", content, PASTED))


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as it arrives, and the field that its mistakes are told at."""

    name: str
    file: BinaryIO
    field: str = FIELD


def _added(session: Session, actor: User, sent: Sent) -> Dataset:
    with _quarantined(sent) as (path, kept):
        verdict = _checked(sent, path, kept)
        published = _publish(kept if kept.exists() else path, verdict.sha256)
    session.execute(select(User.id).where(User.id == actor.id).with_for_update())
    same = (Dataset.owner_id == actor.id, Dataset.sha256 == verdict.sha256)
    existing = session.scalar(select(Dataset).where(*same))
    if existing is not None:
        return existing
    dataset = _row(actor, sent, verdict, published)
    dataset.version = 1 + _latest_version(session, actor, dataset.name)
    session.add(dataset)
    session.flush()
    return dataset


def _row(actor: User, sent: Sent, verdict: Verdict, published: Path) -> Dataset:
    name = dataset_name(sent.name)
    is_pasted = sent.field == PASTED
    return Dataset(
        owner_id=actor.id,
        name=name,
        title=name,
        format=verdict.format,
        path=str(published),
        sha256=verdict.sha256,
        bytes=verdict.bytes,
        rows=verdict.rows,
        verdict=stored_verdict(verdict),
        file_name="" if is_pasted else file_name(sent.name),
        file_format="rows" if is_pasted else verdict.file_format,
        created_at=clock.now(),
    )


def _latest_version(session: Session, actor: User, name: str) -> int:
    named = (Dataset.owner_id == actor.id, Dataset.name == name)
    return session.scalar(select(func.max(Dataset.version)).where(*named)) or 0


def dataset_name(filename: str) -> str:
    """A plain name out of a file's name: no folders, no odd characters."""
    stem = re.split(r"[/\\]", filename)[-1]
    suffix = next((each for each in SUFFIXES if stem.lower().endswith(each)), "")
    stem = stem[: len(stem) - len(suffix)]
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:120] or "dataset"


def file_name(filename: str) -> str:
    """What a file was called, without its folders."""
    name = re.split(r"[/\\]", filename)[-1]
    return "".join(filter(str.isprintable, name))[:255]


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
    """How many runs learn from it or were given it; deleted ones too, whose rows name it yet."""
    given = select(RunResource.run_id).where(RunResource.dataset_id == dataset.id)
    named = or_(Run.dataset_id == dataset.id, Run.id.in_(given))
    return session.scalar(select(func.count()).select_from(Run).where(named)) or 0


@contextmanager
def _quarantined(sent: Sent) -> Iterator[tuple[Path, Path]]:
    """The upload as a file of ours that nobody reads yet, and a place for its rows.

    Both are removed if they are still there.
    """
    folder = get_settings().datasets_dir / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    key = uuid4()
    path, kept = folder / f"{key}.sent", folder / f"{key}.jsonl"
    try:
        _copy(sent, path)
        yield path, kept
    finally:
        path.unlink(missing_ok=True)
        kept.unlink(missing_ok=True)


def _copy(sent: Sent, path: Path) -> None:
    settings = get_settings()
    free = shutil.disk_usage(path.parent).free - settings.min_free_bytes
    limit, size = settings.max_upload_bytes, 0
    with path.open("xb") as copy:
        while piece := sent.file.read(PIECE):
            size += len(piece)
            if size > limit:
                raise _refused(
                    sent.field, N_("The file is larger than {limit} MiB."), limit=limit >> 20
                )
            if size > free:
                raise _refused(sent.field, N_("The disk of this site has no room for the file."))
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    if size == 0:
        raise _refused(sent.field, N_("The file is empty."))


def _checked(sent: Sent, path: Path, kept: Path) -> Verdict:
    limit = get_settings().max_upload_bytes
    # Without a name of its own that says what kind of file it is, only its content does.
    name = file_name(sent.name) if sent.field == FIELD else ""
    try:
        verdict = check(Order(str(path), name or "rows", str(kept), limit))
    except TooHard as error:
        raise _refused(sent.field, error.message, **error.values) from error
    if not verdict.ok:
        raise InvalidInput(
            line_errors(verdict, sent.field),
            N_("The file was not kept. Correct these lines and send it again."),
        )
    return verdict


def line_errors(verdict: Verdict, field: str = FIELD) -> list[FieldError]:
    """What is wrong with a file, a sentence for each line that was listed, and how many more."""
    place = N_("Row {line}: {problem}") if verdict.file_format == "parquet" else LINE
    errors = [_line_error(problem, field, place) for problem in verdict.problems]
    if verdict.problem_count > len(errors):
        more = {"count": verdict.problem_count - len(errors)}
        errors.append(FieldError(field, N_("{count} more lines are not right."), more))
    return errors


def _line_error(problem: Problem, field: str, place: str) -> FieldError:
    text = sentence(problem.message, problem.values)
    if problem.line == 0:
        return FieldError(field, "{problem}", {"problem": text})
    return FieldError(field, place, {"line": problem.line, "problem": text})


def refused(message: str, **values: object) -> InvalidInput:
    """The uploaded file as a whole cannot be taken."""
    return _refused(FIELD, message, **values)


def _refused(field: str, message: str, **values: object) -> InvalidInput:
    return InvalidInput([FieldError(field, message, dict(values))])


def _publish(path: Path, sha256: str) -> Path:
    """Move a checked file to the place that its content names."""
    target = get_settings().datasets_dir / sha256[:2] / f"{sha256}.jsonl"
    target.parent.mkdir(exist_ok=True)
    os.utime(path)
    path.replace(target)
    return target
