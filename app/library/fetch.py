"""Fetches one model of the hub into a folder: `python -m app.library.fetch FOLDER ID REVISION NAME`.

A process of its own, started by the housekeeper (workers/downloads.py), which may kill it at any
moment: what is here is kept, and the next one goes on from it. It has no database; it says how far
it is in `state.json`. Only files that a lab reads are fetched, the small ones first: a model that
needs code of its own is refused before its weights.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.i18n import N_
from app.library.facts import facts_json
from app.library.soundness import check_folder
from app.library.transfer import Remote, take_file
from app.runs.reasons import gibibytes
from app.settings import get_settings
from labs.contract import LabError
from labs.model_files import INDEX, PICKLES, SINGLE, ModelRefused, only_pickles, shard_names
from labs.models import read_config

Json = dict[str, Any]
STATE = "state.json"
SMALL = ("*.json", "*.jinja", "tokenizer.model", "spiece.model", "vocab.txt", "merges.txt")
WORDS = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
LARGEST_SMALL = 64 << 20
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Order:
    """What to fetch: `revision` as it was asked for, empty for the newest."""

    folder: Path
    hub_id: str
    revision: str
    name: str

    @property
    def target(self) -> Path:
        """Where the model's files go."""
        return self.folder / self.name


def main(arguments: Sequence[str]) -> int:
    """Fetch; returns 0 when the model is here and sound, else 1, with the problem in the state."""
    from app.library.hub_errors import told

    folder, *rest = arguments
    order = Order(Path(folder), *rest)
    order.folder.mkdir(parents=True, exist_ok=True)
    try:
        _say(order, phase="done", **fetch(order))
    except Exception as error:
        # The border of this process: whatever went wrong is told on the page, by its kind alone.
        message, values = told(error, order.hub_id, order.revision)
        _say(order, phase="failed", problem={"message": message, "values": values})
        return 1
    return 0


def fetch(order: Order) -> Json:
    """Fetch what is missing and check the whole; returns what the library stores.

    Raises:
        LabError: If the model is none for a lab, or too large for the disk.
        HfHubHTTPError, OSError: If the hub refuses or does not answer.
    """
    # Its settings are read from the environment when it is imported.
    from huggingface_hub import HfApi

    earlier = read_state(order.folder).get("commit", "")
    _say(order, phase="asking", problem=None)
    api = HfApi(token=_token() or False)
    # A second try stays with the commit of the first one.
    info = api.model_info(
        order.hub_id,
        revision=earlier or order.revision or None,
        files_metadata=True,
        timeout=TIMEOUT_SECONDS,
    )
    commit = str(info.sha)
    if not earlier:  # what may lie there is of no known commit
        shutil.rmtree(order.target, ignore_errors=True)
    files = {name: each for name, each in _files(info.siblings or ()) if "/" not in name}
    _refuse_useless(order, files)
    small = [name for name in files if _matches(name, (*SMALL, *WORDS))]
    _take(order, commit, files, small, _bytes(files, small))
    read_config(order.target)
    wanted = [*small, *_weights(order, files)]
    _need_room(order, files, wanted)
    _take(order, commit, files, wanted, _bytes(files, wanted))
    _say(order, phase="checking", commit=commit, total=_bytes(files, wanted))
    sound = check_folder(order.target)
    facts = {**facts_json(sound.facts), "stamp": sound.stamp}
    return {"commit": commit, "facts": facts, "license": sound.license, "path": str(sound.folder)}


def read_state(folder: Path) -> Json:
    """How far a download is; empty before it has said anything."""
    try:
        state = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _say(order: Order, **state: Any) -> None:
    beside = order.folder / f".{STATE}"
    beside.write_text(json.dumps({**read_state(order.folder), **state}), encoding="utf-8")
    beside.replace(order.folder / STATE)


def _token() -> str:
    file = get_settings().hub_token_file
    return file.read_text(encoding="utf-8").strip() if file else ""


def _files(siblings: Sequence[Any]) -> Iterator[tuple[str, Remote]]:
    for each in siblings:
        large = each.lfs or {}
        yield str(each.rfilename), Remote(int(each.size or 0), large.get("sha256"))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not name.startswith(".") and any(Path(name).match(pattern) for pattern in patterns)


def _refuse_useless(order: Order, files: Mapping[str, Remote]) -> None:
    """What can be said by the names of the files alone."""
    if "config.json" not in files:
        raise ModelRefused("“{name}” has no config.json.", name=order.hub_id)
    if INDEX in files or SINGLE in files:
        return
    if any(_matches(name, PICKLES) for name in files):
        raise only_pickles(order.hub_id)
    raise ModelRefused("“{name}” has no model.safetensors.", name=order.hub_id)


def _weights(order: Order, files: Mapping[str, Remote]) -> list[str]:
    """The weight files, by the index where there is one: some models keep a second copy beside."""
    if INDEX not in files:
        return [SINGLE]
    names = shard_names(order.target / INDEX)
    missing = next((name for name in names if name not in files), None)
    if missing is not None:
        raise ModelRefused(
            "“{model}” lacks the file {file} that its index names.",
            model=order.hub_id,
            file=missing,
        )
    return names


def _need_room(order: Order, files: Mapping[str, Remote], names: Sequence[str]) -> None:
    here = sum(each.stat().st_size for each in order.target.rglob("*") if each.is_file())
    need = max(0, _bytes(files, names) - here)
    free, kept = shutil.disk_usage(order.folder).free, get_settings().min_free_bytes
    if free < need + kept:
        raise LabError(
            N_("“{name}” needs {need} more on the disk; {free} are left, of which {kept} stay free. Make room and try again."),
            name=order.hub_id, need=gibibytes(need), free=gibibytes(free), kept=gibibytes(kept),
        )  # fmt: skip


def _take(
    order: Order, commit: str, files: Mapping[str, Remote], names: Sequence[str], total: int
) -> None:
    """Fetch these files of a commit; one that is whole already is not asked for again."""
    _say(order, phase="fetching", commit=commit, total=total)
    order.target.mkdir(exist_ok=True)
    for name in names:
        if _matches(name, SMALL) and files[name].bytes > LARGEST_SMALL:
            raise ModelRefused(
                "“{name}” is damaged: {file}: {reason}.",
                name=order.hub_id, file=name, reason="it is larger than 64 MiB",
            )  # fmt: skip
        take_file(order.hub_id, commit, name, files[name], order.target, _token())


def _bytes(files: Mapping[str, Remote], names: Sequence[str]) -> int:
    return sum(files[name].bytes for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
