"""Folders that appear whole or not at all: artifacts and checkpoints. Imports no torch.

A folder is filled under a temporary name, synced, given its manifest last and renamed
into place. Whoever finds a folder whose manifest holds has found all of it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labs.contract import Json
from labs.disk import DiskFull, is_disk_full

MANIFEST = "manifest.json"
UNFINISHED, REPLACED = ".unfinished-", ".replaced-"


@contextmanager
def publishing(target: Path, facts: Json) -> Iterator[Path]:
    """Yield a folder to fill; on leaving without an error it becomes `target`.

    Raises:
        DiskFull: If there was no room; what stood at `target` before is kept.
    """
    beside = target.parent / f"{UNFINISHED}{target.name}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        _write_manifest(beside, facts)
        _replace(beside, target)
    except BaseException as error:
        full = is_disk_full(error, beside)
        shutil.rmtree(beside, ignore_errors=True)
        if full:
            raise DiskFull("The disk is full: “{name}” was not saved.", name=target.name) from error
        raise


def read_manifest(folder: Path) -> Json | None:
    """The manifest of a published folder, or None when it is missing or unreadable."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "files" in manifest else None


def is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is there with its length and hash."""
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    try:
        return all(_describe(folder, folder / file["path"]) == file for file in manifest["files"])
    except (OSError, KeyError, TypeError):
        return False


def sweep(parent: Path) -> None:
    """Remove what earlier attempts left unfinished, and put back what was about to be replaced."""
    for folder in parent.glob(f"{REPLACED}*"):
        target = parent / folder.name.removeprefix(REPLACED)
        if target.exists():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.rename(target)
    for folder in parent.glob(f"{UNFINISHED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _write_manifest(folder: Path, facts: Json) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [_describe(folder, path) for path in paths]
    for path in paths:
        _sync(path)
    lines = "".join(f"{file['sha256']}  {file['path']}\n" for file in files)
    manifest = {
        **facts,
        "files": files,
        "bytes": sum(int(file["bytes"]) for file in files),
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    _sync(path)
    _sync(folder)


def _describe(folder: Path, path: Path) -> dict[str, str | int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": path.relative_to(folder).as_posix(),
        "bytes": path.stat().st_size,
        "sha256": digest,
    }


def _replace(beside: Path, target: Path) -> None:
    """Rename into place. An older folder of that name steps aside first: whoever dies between
    the two leaves one that `sweep` puts back."""
    aside = target.with_name(f"{REPLACED}{target.name}")
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
    beside.rename(target)
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
