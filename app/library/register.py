"""Bring models and datasets into the tables: those that come with Bunsen, and an admin's folders."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock
from app.access import Action, require
from app.audit.record import record
from app.datasets.verdicts import stored_verdict
from app.errors import FieldError, InvalidInput
from app.i18n import N_
from app.models import Dataset, LanguageModel, User
from labs import bundled
from labs.datasets import fingerprint, inspect
from labs.models import ModelFacts, ModelRefused, read_facts

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
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
    row.path, row.bundled = str(folder), True
    facts = facts_json(read_facts(folder))
    if row.facts != facts:
        row.facts = facts


def _sync_dataset(session: Session, name: str, folder: Path) -> None:
    sha256 = fingerprint(folder)
    row = session.scalar(select(Dataset).where(Dataset.name == name, Dataset.bundled.is_(True)))
    if row is not None and row.sha256 == sha256:
        row.path = str(folder)
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
    """Add a Hugging Face folder of this machine to the library, after reading its headers."""
    require(actor, Action.MANAGE_LIBRARY)
    errors = _name_errors(session, name)
    facts = _facts_or_error(folder, errors)
    if errors or facts is None:
        raise InvalidInput(errors)
    model = LanguageModel(
        name=name,
        path=str(Path(folder).resolve()),
        facts=facts_json(facts),
        created_at=clock.now(),
    )
    session.add(model)
    session.flush()
    record(session, actor, "model.register", name, folder=model.path)
    return model


def _name_errors(session: Session, name: str) -> list[FieldError]:
    if NAME.fullmatch(name) is None:
        sentence = N_("A name has 1 to 120 letters, digits, dots, hyphens or underscores.")
        return [FieldError("name", sentence)]
    taken = session.scalar(select(LanguageModel.id).where(LanguageModel.name == name))
    return [FieldError("name", N_("“{name}” is taken."), {"name": name})] if taken else []


def _facts_or_error(folder: str, errors: list[FieldError]) -> ModelFacts | None:
    if "\0" in folder or not Path(folder).is_absolute():
        errors.append(FieldError("folder", N_("Give the whole path of the folder, from / on.")))
        return None
    try:
        return read_facts(Path(folder))
    except ModelRefused as refused:
        errors.append(FieldError("folder", refused.message, refused.values))
    except OSError as error:
        values = {"reason": error.strerror or type(error).__name__}
        errors.append(FieldError("folder", N_("The folder cannot be read: {reason}."), values))
    return None


def facts_json(facts: ModelFacts) -> dict[str, Any]:
    """Facts as they are stored: sets as sorted lists."""
    return {**asdict(facts), "sublayers": sorted(facts.sublayers)}
