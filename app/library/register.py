"""Bring models and datasets into the tables: those that come with Bunsen, and an admin's folders."""

import json
import re
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.audit.record import record
from app.datasets.verdicts import stored_verdict
from app.errors import Conflict, FieldError, InvalidInput
from app.i18n import N_
from app.library.facts import facts_json
from app.library.license import license_of
from app.library.queries import get_model
from app.library.soundness import Sound, check_folder
from app.models import Dataset, LanguageModel, User
from labs import bundled
from labs.contract import LabError
from labs.datasets import fingerprint, inspect
from labs.models import read_facts

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
LONGEST_PATH = 1024
SYNC_LOCK = 7_203_017


def sync_bundled(session: Session) -> None:
    """Make the rows of what comes with Bunsen match its folders; changes nothing when they do."""
    if session.get_bind().dialect.name == "postgresql":
        # Two web processes may start at once; SQLite lets one writer in by itself.
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SYNC_LOCK})
    for name, folder in bundled.models().items():
        _sync_model(session, name, folder)
    for name, folder in bundled.datasets().items():
        _sync_dataset(session, name, folder)


def _sync_model(session: Session, name: str, folder: Path) -> None:
    row = session.scalar(select(LanguageModel).where(LanguageModel.name == name))
    if row is None:
        row = LanguageModel(name=name, created_at=clock.now())
        session.add(row)
    row.path, row.bundled, row.origin = str(folder), True, "bundled"
    row.license = license_of(folder)
    facts = facts_json(read_facts(folder))
    if row.facts != facts:
        row.facts = facts


def _sync_dataset(session: Session, name: str, folder: Path) -> None:
    sha256 = fingerprint(folder)
    row = session.scalar(select(Dataset).where(Dataset.name == name, Dataset.bundled.is_(True)))
    if row is not None and row.sha256 == sha256:
        row.path = str(folder)
        if "profile" not in row.verdict:  # of a release that did not count so much
            row.verdict = {**row.verdict, **stored_verdict(inspect(folder))}
        return
    if row is not None:
        _retire(row)
    described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    verdict = inspect(folder)
    assert verdict.ok, f"the bundled dataset {name} is not sound: {verdict.problems[0]}"
    session.add(
        Dataset(
            name=name,
            title=described["title"],
            format=verdict.format,
            path=str(folder),
            sha256=sha256,
            bytes=verdict.bytes,
            rows=verdict.rows,
            verdict={**stored_verdict(verdict), "about": described},
            bundled=True,
            created_at=clock.now(),
        )
    )


def _retire(row: Dataset) -> None:
    """An earlier release's rows of this name: runs still point at them, new ones cannot."""
    row.name, row.bundled = f"{row.name}-{row.sha256[:8]}", False
    row.verdict = {**row.verdict, "retired": True}


def register_model(session: Session, actor: User, name: str, folder: str) -> LanguageModel:
    """Add a Hugging Face folder of this machine to the library, after reading its headers.

    Raises:
        InvalidInput: With what is wrong with the name, the folder or one of its files.
    """
    require(actor, Action.MANAGE_LIBRARY)
    errors = name_errors(session, name)
    sound, problems = _checked(folder)
    if errors or problems or sound is None:
        raise InvalidInput([*errors, *problems])
    model = LanguageModel(name=name, path="", facts={}, origin="folder", created_at=clock.now())
    keep_facts(model, sound)
    session.add(model)
    session.flush()
    record(session, actor, "model.register", name, folder=model.path)
    return model


def check_again(session: Session, actor: User, model_id: UUID) -> LanguageModel:
    """Read the folder of a model anew: from now on runs may start from what it holds now.

    Raises:
        Conflict: If it holds no model any more; the row stays as it is.
    """
    require(actor, Action.MANAGE_LIBRARY)
    model = get_model(session, model_id, writing=True)
    sound, problems = _checked(model.path)
    if sound is None:
        raise Conflict(problems[0].message, **problems[0].values)
    keep_facts(model, sound)
    record(session, actor, "model.check", model.name, folder=model.path)
    return model


def set_retired(session: Session, actor: User, model_id: UUID, retired: bool) -> LanguageModel:
    """Take a model out of the library, or bring it back; runs keep pointing at it."""
    require(actor, Action.MANAGE_LIBRARY)
    model = get_model(session, model_id, writing=True)
    if model.bundled:
        raise Conflict(N_("“{name}” comes with Bunsen and stays."), name=model.name)
    if (model.retired_at is not None) == retired:
        return model
    model.retired_at = clock.now() if retired else None
    record(session, actor, "model.retire" if retired else "model.return", model.name)
    return model


def keep_facts(model: LanguageModel, sound: Sound) -> None:
    """Write down what was found, and of which files."""
    model.path, model.license = str(sound.folder), sound.license
    model.facts = {**facts_json(sound.facts), "stamp": [list(each) for each in sound.stamp]}


def name_errors(session: Session, name: str) -> list[FieldError]:
    """What is wrong with a new model's name."""
    if NAME.fullmatch(name) is None:
        sentence = N_("A name has 1 to 120 letters, digits, dots, hyphens or underscores.")
        return [FieldError("name", sentence)]
    taken = session.scalar(select(LanguageModel.id).where(LanguageModel.name == name))
    return [FieldError("name", N_("“{name}” is taken."), {"name": name})] if taken else []


def _checked(folder: str) -> tuple[Sound | None, list[FieldError]]:
    path = Path(folder)
    if not folder.isprintable() or not path.is_absolute() or len(folder) > LONGEST_PATH:
        sentence = N_("Give the whole path of the folder, from / on.")
        return None, [FieldError("folder", sentence)]
    try:
        return check_folder(path), []
    except LabError as refused:
        return None, [FieldError("folder", refused.message, refused.values)]
    except OSError as error:
        values = {"reason": error.strerror or type(error).__name__}
        return None, [FieldError("folder", N_("The folder cannot be read: {reason}."), values)]
