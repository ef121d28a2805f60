"""A run carried out by hand: its rows, events, artifact and log, as a trainer would leave them."""

from pathlib import Path

from sqlalchemy.orm import Session

from app import clock
from app.metrics import store
from app.metrics.chunk import MetricRow
from app.models import Artifact, Run, RunState
from app.runs import lifecycle
from app.runs.journal import append_events
from app.settings import get_settings
from labs.published import publishing, read_manifest

LOG = "Saved to {folder}\n"
STEPS = 4


def carry_out(session: Session, run: Run) -> Run:
    """From its queue to its end on the device `cpu`, with one small artifact."""
    attempt = lifecycle.assign(session, run.id, "cpu", {"message": "", "values": {}})
    lifecycle.claim(session, run.id, attempt, "cpu")
    folder = get_settings().run_dir(run.id)
    _write_files(folder)
    _write_rows(session, run, attempt, folder)
    lifecycle.finish(session, run.id, attempt, RunState.SUCCEEDED)
    session.flush()
    return run


def _write_files(folder: Path) -> None:
    for name in ("artifacts", "stages", "checkpoints/step-1"):
        (folder / name).mkdir(parents=True)
    (folder / "stages" / "train.json").write_text("{}")
    (folder / "output.log").write_text(LOG.format(folder=folder))
    with publishing(folder / "artifacts" / "adapter", {"name": "adapter"}) as beside:
        (beside / "weights.bin").write_bytes(b"w" * 1000)


def _write_rows(session: Session, run: Run, attempt: int, folder: Path) -> None:
    rows = [MetricRow(step, float(step), {"train/loss": 1 / step}) for step in range(1, STEPS + 1)]
    store.append(session, run.id, attempt, rows)
    done = [
        ("stage", {"stage": name, "status": "completed", "seconds": 2.0})
        for name in ("setup", "train")
    ]
    append_events(session, run.id, attempt, done)
    manifest = read_manifest(folder / "artifacts" / "adapter")
    assert manifest is not None, "the artifact was published"
    session.add(
        Artifact(
            run_id=run.id, name="adapter", kind="adapter", path="artifacts/adapter",
            bytes=manifest["bytes"], sha256=manifest["sha256"], step=STEPS, attempt=attempt,
            created_at=clock.now(),
        )
    )  # fmt: skip
    run.environment = {"torch": "2"}
    session.flush()
