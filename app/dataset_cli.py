"""The verbs about datasets: check a file, add it for somebody, list what is there."""

import json
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import select

from app.database import reading, transaction
from app.datasets.apart import TooHard, check
from app.datasets.upload import add_dataset, line_errors, refused
from app.errors import InvalidInput, NotFound
from app.models import Dataset, User
from app.people_cli import find
from app.settings import get_settings
from labs.datasets import Verdict, inspect
from labs.intake import Order

SHOWN_LABELS = 10


def examine(path: Path, as_json: bool) -> int:
    """Print what is in a file or a folder, or why it cannot be used; keeps nothing."""
    verdict = _verdict(path)
    if as_json:
        found = {**asdict(verdict), "ok": verdict.ok, "profile": verdict.profile.stored()}
        print(json.dumps(found, ensure_ascii=False))
    if not verdict.ok:
        raise InvalidInput(line_errors(verdict))
    if not as_json:
        _show(path, verdict)
    return 0


def add(owner: str, path: Path) -> int:
    """Add a file as a dataset of that person's."""
    _must_be_there(path)
    with reading() as session:
        user = find(session, owner)
    with path.open("rb") as file, transaction() as session:
        dataset = add_dataset(session, user, path.name, file)
        print(f"{dataset.name}, version {dataset.version}: {dataset.rows} rows, {dataset.format}")
        print(dataset.id)
    return 0


def show_all() -> int:
    """Print every dataset: whose, name, version, format, rows, hash."""
    with reading() as session:
        statement = select(Dataset, User.name).outerjoin(User, User.id == Dataset.owner_id)
        order = (Dataset.owner_id.is_not(None), User.name, Dataset.name, Dataset.version)
        for dataset, owner in session.execute(statement.order_by(*order)):
            facts = (dataset.version, dataset.format, dataset.rows, dataset.sha256[:12])
            print("\t".join(map(str, (owner or "-", dataset.name, *facts))))
    return 0


def _verdict(path: Path) -> Verdict:
    if path.is_dir():
        return inspect(path)
    _must_be_there(path)
    try:
        return check(Order(str(path.absolute()), path.name, "", get_settings().max_upload_bytes))
    except TooHard as error:
        raise refused(error.message, **error.values) from error


def _must_be_there(path: Path) -> None:
    if not path.is_file():
        raise NotFound("There is no file {path}.", path=path)


def _show(path: Path, verdict: Verdict) -> None:
    profile = verdict.profile
    splits = ", ".join(f"{split} {rows}" for split, rows in verdict.splits.items())
    read_as = f", read by {profile.read_as}" if profile.read_as else ""
    print(f"{path.name}: {verdict.format_title} ({verdict.file_format}{read_as})")
    print(f"Rows        {verdict.rows} ({splits})")
    print(f"Prompts     {profile.distinct_prompts} different; {profile.duplicates} rows repeat")
    for title, lengths in (("Prompt", profile.prompt), ("Answer", profile.answer)):
        told = f"median {lengths.median}, 95 % up to {lengths.p95}, longest {lengths.longest}"
        print(f"{title:<11} {told} characters")
    for label, counts in list(profile.labels.items())[:SHOWN_LABELS]:
        print(f"  {sum(counts.values()):>8}  {label}")
    for notice in verdict.warnings:
        print(f"Note: {notice}")
    print(f"sha256 {verdict.sha256}")
