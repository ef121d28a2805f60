"""The rows that a run learns from or is judged by."""

from functools import lru_cache
from pathlib import Path

from sqlalchemy.orm import Session

from app.errors import FieldError
from app.i18n import N_
from app.models import Dataset, User
from app.runs import queries
from app.runs.preflight.stamps import Stamp, modified_after, stamp_of
from labs.contract import Lab
from labs.datasets import fingerprint

REMEMBERED = 64


def find_dataset(
    session: Session, actor: User, lab: Lab, wanted: str | None
) -> tuple[Dataset | None, list[FieldError]]:
    """The dataset that this person may use, or what is wrong with it."""
    name = wanted or lab.default_dataset
    dataset = queries.find_dataset(session, actor, name)
    if dataset is None:
        sentence = N_("There is no dataset “{name}” among yours and the shared ones.")
        return None, [FieldError("dataset", sentence, {"name": name})]
    if lab.accepts.formats and dataset.format not in lab.accepts.formats:
        sentence = N_("“{name}” has the format {format}; this lab takes: {formats}.")
        values = {
            "name": dataset.name,
            "format": dataset.format,
            "formats": ", ".join(sorted(lab.accepts.formats)),
        }
        return dataset, [FieldError("dataset", sentence, values)]
    if not is_unchanged(dataset):
        sentence = N_(
            "The file of “{name}” is gone or has changed since it was added. Add it again."
        )
        return dataset, [FieldError("dataset", sentence, {"name": dataset.name})]
    return dataset, []


def is_unchanged(dataset: Dataset) -> bool:
    """Whether the file is the one that was added: by size and time; a file that was written since the row was added is read once more."""
    path = Path(dataset.path)
    try:
        stamp = stamp_of(path, "*.jsonl")
        if sum(size for _name, size, _time in stamp) != dataset.bytes:
            return False
        return not modified_after(stamp, dataset.created_at) or _sha256(path, stamp) == (
            dataset.sha256
        )
    except OSError:
        return False


@lru_cache(maxsize=REMEMBERED)
def _sha256(path: Path, stamp: Stamp) -> str:
    return fingerprint(path)
