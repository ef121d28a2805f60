"""Fetches the models that an admin asked for: one at a time, each in a process of its own.

The rows say what is wanted (app/library/hub.py), the process only writes files. Whoever dies,
whoever is restarted: the next turn goes on from what is on the disk.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import select

from app.database import reading, transaction
from app.i18n import N_
from app.library import hub
from app.library.fetch import read_state
from app.library.queries import arriving
from app.models import LanguageModel
from app.settings import ROOT, get_settings
from setup.commands import die_with_parent

log = logging.getLogger(__name__)
Json = dict[str, Any]
GRACE_SECONDS = 5.0
LOCK = ".fetching.lock"
# What huggingface_hub must find: plain requests, whose files can be gone on with; no token but ours.
HUB_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "PYTHONPATH": str(ROOT),
}
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")


class Fetcher:
    """What this housekeeper fetches. One of several housekeepers does, whoever came first."""

    def __init__(self) -> None:
        self._lock: IO[str] | None = None
        self._model: UUID | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def take_turn(self) -> None:
        """Look at the model being fetched, or start with the next one."""
        with reading() as session:
            waiting = {each.id: each for each in arriving(session)}
        if not (waiting or get_settings().models_dir.is_dir()) or not self._may_work():
            return
        if self._model is not None:
            self._look_at(self._model, waiting.get(self._model))
        if self._model is None:
            self._sweep()
            self._begin(list(waiting.values()))

    def close(self) -> None:
        """Stop; what is here is gone on with by the next housekeeper."""
        self._stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _may_work(self) -> bool:
        if self._lock is None:
            folder = get_settings().models_dir
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / LOCK).open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
            self._lock = file
        return True

    def _begin(self, waiting: Sequence[LanguageModel]) -> None:
        ready = [each for each in waiting if not hub.progress_of(each).problem]
        if not ready or not hub.is_online():
            return
        model, progress = ready[0], hub.progress_of(ready[0])
        folder = _folder(model.id)
        folder.mkdir(parents=True, exist_ok=True)
        arguments = [str(folder), str(model.hub_id), progress.revision, model.name]
        with (folder / "fetch.log").open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "app.library.fetch", *arguments],
                env=environment(os.environ, folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._model = model.id
        log.info("fetching %s from the hub", model.hub_id)

    def _look_at(self, model_id: UUID, model: LanguageModel | None) -> None:
        """How the child is, into the row; a row that is gone ends the child."""
        assert self._child is not None, "a model is being fetched by a child"
        if model is None:
            self._stop()
            return
        ended = self._child.poll() is not None
        state = read_state(_folder(model_id))
        progress = _progress(hub.progress_of(model), state, _folder(model_id) / model.name)
        if not ended:
            self._note(model, progress)
            return
        self._child, self._model = None, None
        if state.get("phase") == "done":
            self._arrive(model_id, state)
        else:
            problem = state.get("problem") or _died()
            self._note(model, replace(progress, phase="waiting", problem=problem))

    def _note(self, model: LanguageModel, progress: hub.Progress) -> None:
        if progress == hub.progress_of(model):
            return
        with transaction() as session:
            hub.note(session, model.id, progress)

    def _arrive(self, model_id: UUID, state: Json) -> None:
        values = {name: state[name] for name in ("path", "facts", "commit", "license")}
        with transaction() as session:
            if hub.arrive(session, model_id, **values):
                log.info("the model %s is in the library", model_id)

    def _stop(self) -> None:
        """End the child; killed at any moment, it leaves nothing that the next one minds."""
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._child, self._model = None, None

    def _sweep(self) -> None:
        """Remove the folders of models that no row has any more: they were cancelled."""
        folders = [path for path in get_settings().models_dir.iterdir() if _is_ours(path)]
        if not folders:
            return
        with reading() as session:
            kept = {str(each) for each in session.scalars(select(LanguageModel.id))}
        for folder in folders:
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def environment(ours: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What a child finds: our settings, proxies and the hub's address, but nobody's token."""
    kept = {name: value for name, value in ours.items() if name not in TOKENS}
    return {**kept, **HUB_ENVIRONMENT, "HF_HOME": str(folder / "hub")}


def _folder(model_id: UUID) -> Path:
    return get_settings().models_dir / str(model_id)


def _is_ours(path: Path) -> bool:
    try:
        return path.is_dir() and str(UUID(path.name)) == path.name
    except ValueError:
        return False


def _progress(known: hub.Progress, state: Json, target: Path) -> hub.Progress:
    phase = state.get("phase")
    return replace(
        known,
        # What an earlier child said last stands there until the new one speaks.
        phase=phase if phase in hub.PHASES else "asking",
        commit=str(state.get("commit") or known.commit),
        total=state.get("total", known.total),
        done=_bytes(target),
    )


def _bytes(folder: Path) -> int:
    """Bytes of the model's files that are here, half ones included."""
    total = 0
    for place, _folders, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(place) / name).stat().st_size
            except OSError:  # it was renamed meanwhile
                continue
    return total


def _died() -> Json:
    return {
        "message": N_("Fetching was ended from outside. Try again: what is here is kept."),
        "values": {},
    }
