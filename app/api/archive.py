"""A folder as one zip, made once and kept beside it."""

import os
import zipfile
from pathlib import Path
from uuid import uuid4

# The same folder gives the same bytes, whenever it is packed.
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
PIECE = 1 << 20


def zipped(folder: Path, sha256: str) -> Path:
    """The zip of an artifact's folder; weights do not compress, so it stores."""
    target = folder.parent.parent / "downloads" / f"{folder.name}-{sha256[:16]}.zip"
    if _is_there(target):
        return target
    target.parent.mkdir(exist_ok=True)
    unfinished = target.with_name(f".{uuid4()}.part")
    try:
        _pack(folder, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _is_there(target: Path) -> bool:
    """Whether it was made before; says that it is in use, so that nobody removes it now."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    return True


def _pack(folder: Path, target: Path) -> None:
    with target.open("xb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    _add(archive, path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        file.flush()
        os.fsync(file.fileno())


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, FIXED_TIME)
    entry.external_attr = 0o644 << 16
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
        while piece := source.read(PIECE):
            packed.write(piece)
