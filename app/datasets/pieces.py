"""An upload in pieces, which goes on where a broken connection left it.

What has arrived lies in `quarantine/` under its sender and a key made of the file's name, size
and time, so the same file chosen again goes on. Nobody reads it before it is whole and checked;
what is left there is forgotten by `app.storage.tidy`.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session

from app.database import after_commit
from app.datasets.upload import add_dataset, refused
from app.errors import InvalidInput, NotFound, Unavailable
from app.i18n import N_
from app.models import Dataset, User
from app.settings import get_settings

# Unfinished uploads of one person; of more, the one that waits longest goes.
MOST_AT_ONCE = 4


def begin(actor: User, name: str, size: int, modified: str) -> tuple[str, int]:
    """The key of an upload and how many bytes of it are here already.

    Args:
        size: Bytes of the whole file.
        modified: When the file was changed last, in whatever form the browser says it.

    Raises:
        InvalidInput: If the file is larger than this site takes.
    """
    _must_be_allowed(size)
    key = hashlib.sha256(f"{name}\0{size}\0{modified}".encode()).hexdigest()[:32]
    path = _path(actor, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    _forget_others(actor, path)
    if path.stat().st_size > size:
        os.truncate(path, 0)
    return key, path.stat().st_size


def put(actor: User, key: str, offset: int, content: bytes) -> tuple[bool, int]:
    """Add a piece if it begins where the last one ended; whether it did, and what is here now.

    Raises:
        NotFound: If no such upload was begun.
        InvalidInput: If there is no room for it.
    """
    with _held(actor, key) as part:
        size = part.seek(0, os.SEEK_END)
        if offset != size:
            return False, size
        _must_be_allowed(size + len(content))
        try:
            part.write(content)
            part.flush()
        except OSError as error:
            os.ftruncate(part.fileno(), size)
            raise Unavailable(N_("The disk of this site has no room for the file.")) from error
        return True, size + len(content)


def received(actor: User, key: str) -> int:
    """How many bytes of an upload are here.

    Raises:
        NotFound: If no such upload was begun.
    """
    try:
        return _path(actor, key).stat().st_size
    except FileNotFoundError:
        raise _unknown() from None


def finish(session: Session, actor: User, key: str, name: str) -> Dataset:
    """Check what has arrived and publish it; a file that is refused is not kept."""
    path = _path(actor, key)
    try:
        with path.open("rb") as file:
            dataset = add_dataset(session, actor, name, file)
    except FileNotFoundError:
        raise _unknown() from None
    except InvalidInput:
        path.unlink(missing_ok=True)
        raise
    after_commit(session, path.unlink, True)
    return dataset


def forget(actor: User, key: str) -> None:
    """Throw away what has arrived."""
    _path(actor, key).unlink(missing_ok=True)


def _path(actor: User, key: str) -> Path:
    return get_settings().datasets_dir / "quarantine" / f"{actor.id}-{key}.part"


@contextmanager
def _held(actor: User, key: str) -> Iterator[BinaryIO]:
    """The upload for one writer at a time: two tabs may send the same file."""
    try:
        with _path(actor, key).open("r+b") as part:
            fcntl.flock(part, fcntl.LOCK_EX)
            yield part
    except FileNotFoundError:
        raise _unknown() from None


def _unknown() -> NotFound:
    return NotFound(N_("This upload was not begun, or was forgotten. Send the file again."))


def _must_be_allowed(size: int) -> None:
    settings = get_settings()
    if size > settings.max_upload_bytes:
        limit = settings.max_upload_bytes >> 20
        raise refused(N_("The file is larger than {limit} MiB."), limit=limit)
    if shutil.disk_usage(settings.home).free < settings.min_free_bytes:
        raise refused(N_("The disk of this site has no room for the file."))


def _forget_others(actor: User, kept: Path) -> None:
    mine = (path for path in kept.parent.glob(f"{actor.id}-*.part") if path != kept)
    for path in sorted(mine, key=lambda each: each.stat().st_mtime)[: -(MOST_AT_ONCE - 1)]:
        path.unlink(missing_ok=True)
