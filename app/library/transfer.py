"""One file of the hub onto the disk: gone on with where the last try stopped, and checked.

huggingface_hub's own download begins a file anew in each process; a shard of five gigabytes would
never arrive on a line that breaks every hour. So its parts are put together here.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from app.i18n import N_
from labs.contract import LabError

PART = ".part"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a commit: its bytes, and its sha256 where the hub states one."""

    bytes: int
    sha256: str | None


def take_file(
    hub_id: str, commit: str, name: str, remote: Remote, folder: Path, token: str
) -> None:
    """Fetch what is missing of a file; it has its name when it is whole, and before that `PART`.

    Raises:
        LabError: If it is not what the hub says it is; it is then forgotten.
        HfHubHTTPError, OSError: If the hub refuses or the connection breaks.
    """
    if (folder / name).is_file():
        return
    part = folder / f".{name}{PART}"
    if not part.is_file() or part.stat().st_size != remote.bytes or not remote.bytes:
        _append(hub_id, commit, name, part, token)
    if remote.sha256 is not None and _sha256(part) != remote.sha256:
        part.unlink()
        raise LabError(
            N_("{file} of “{name}” did not arrive whole. Try again."), file=name, name=hub_id
        )
    part.replace(folder / name)


def _append(hub_id: str, commit: str, name: str, part: Path, token: str) -> None:
    from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url, http_get

    url = hf_hub_url(hub_id, name, revision=commit)
    found = get_hf_file_metadata(url, token=token or False)
    # Where another host serves the bytes, the token is none of its business.
    is_theirs = token and urlsplit(found.location).netloc == urlsplit(url).netloc
    headers = {"authorization": f"Bearer {token}"} if is_theirs else {}
    if found.size is not None and part.is_file() and part.stat().st_size > found.size:
        part.unlink()
    with part.open("ab") as file:
        http_get(
            found.location, file, resume_size=file.tell(), headers=headers,
            expected_size=found.size,
        )  # fmt: skip


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
