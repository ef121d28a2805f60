"""Runs, datasets and devices as JSON objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from app import clock
from app.api.reply import told
from app.api.series import number
from app.devices.health import is_deaf, is_silent
from app.metrics.store import LatestValue
from app.models import Artifact, Attempt, Dataset, Device, Run, RunEvent
from app.runs.labs_of import lab_of

Shape = dict[str, Any]


def run_links(run: Any) -> dict[str, str]:
    own = f"/api/v1/runs/{run.id}"
    parts = ("events", "metrics", "log", "artifacts", "notebook", "cancellation", "deletion",
             "resubmission")  # fmt: skip
    return {"self": own, "page": f"/runs/{run.id}", **{part: f"{own}/{part}" for part in parts}}


def queue_json(run: Any) -> Shape:
    return {
        "position": run.position,
        "expected_start": run.expected_start,
        "reason": told(run.reason),
    }


def run_line(run: Run) -> Shape:
    """A run as lists show it."""
    return line_json(run, run.owner.name, run.base_model.name, run.dataset.name)


def line_json(run: Any, owner: str, base_model: str, dataset: str) -> Shape:
    """The same of a run or of a row with the columns that are shown."""
    return {
        "id": run.id,
        "name": run.name,
        "lab": run.lab,
        "state": run.state,
        "cause": run.cause,
        "attempt": run.attempt,
        "owner": {"id": run.owner_id, "name": owner},
        "base_model": base_model,
        "dataset": dataset,
        "device": run.device,
        "queue": queue_json(run) if run.position is not None or not run.state.is_over else None,
        "created_at": run.created_at,
        "queued_at": run.queued_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "links": run_links(run),
    }


def run_json(
    run: Run,
    events: Sequence[RunEvent],
    attempts: Sequence[Attempt],
    artifacts: Sequence[Artifact],
    latest: Mapping[str, LatestValue],
) -> Shape:
    """Everything about a run."""
    return {
        **run_line(run),
        "reason": told(run.reason),
        "stages": _stages(run, events),
        "progress": {
            "stage": run.stage,
            "done": run.progress_done,
            "total": run.progress_total,
            "note": run.progress_note,
        },
        "params": run.params,
        "seed": run.seed,
        "code_version": run.code_version,
        "environment": run.environment,
        "estimate": run.estimate,
        "peak_memory_bytes": run.peak_memory_bytes,
        "cancel_requested_at": run.cancel_requested_at,
        "lineage": _lineage(run),
        "metrics": _metrics(run, latest),
        "attempts": [_attempt(attempt) for attempt in attempts],
        "artifacts": [artifact_json(run, artifact) for artifact in artifacts],
    }


def _stages(run: Run, events: Sequence[RunEvent]) -> list[Shape]:
    found: dict[str, Shape] = {
        str(name): {"name": name, "status": "waiting", "seconds": None, "at": None}
        for name in run.stages
    }
    for event in events:
        name = str(event.payload.get("stage"))
        if event.kind == "stage" and name in found:
            found[name].update(
                status=event.payload.get("status"),
                seconds=event.payload.get("seconds"),
                at=event.at,
            )
    return list(found.values())


def _lineage(run: Run) -> Shape:
    return {
        "parent_run": run.parent_run_id,
        "base_model": {"id": run.base_model.id, "name": run.base_model.name},
        "dataset": {
            "id": run.dataset.id,
            "name": run.dataset.name,
            "version": run.dataset.version,
            "sha256": run.dataset.sha256,
        },
    }


def _metrics(run: Run, latest: Mapping[str, LatestValue]) -> Shape:
    lab = lab_of(run)
    return {
        key: {
            "unit": lab.metric(key).unit,
            "direction": lab.metric(key).direction,
            "step": value.step,
            "value": number(value.value),
            "first": number(value.first),
            "minimum": value.minimum,
            "maximum": value.maximum,
        }
        for key, value in latest.items()
    }


def _attempt(attempt: Attempt) -> Shape:
    return {
        "number": attempt.number,
        "device": attempt.device,
        "outcome": attempt.outcome,
        "cause": attempt.cause,
        "reason": told(attempt.reason),
        "assigned_at": attempt.assigned_at,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "resumed_from_step": attempt.resumed_from_step,
        "peak_memory_bytes": attempt.peak_memory_bytes,
        "device_seconds": attempt.device_seconds,
    }


def artifact_json(run: Run, artifact: Artifact) -> Shape:
    return {
        "name": artifact.name,
        "kind": artifact.kind,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "step": artifact.step,
        "attempt": artifact.attempt,
        "created_at": artifact.created_at,
        "links": {"download": f"/api/v1/runs/{run.id}/artifacts/{artifact.name}"},
    }


def dataset_json(dataset: Dataset) -> Shape:
    verdict = dataset.verdict
    return {
        "id": dataset.id,
        "name": dataset.name,
        "title": dataset.title,
        "format": dataset.format,
        "version": dataset.version,
        "file_name": dataset.file_name,
        "file_format": dataset.file_format,
        "rows": dataset.rows,
        "splits": verdict.get("splits", {}),
        "bytes": dataset.bytes,
        "sha256": dataset.sha256,
        "bundled": dataset.bundled,
        "created_at": dataset.created_at,
        "verdict": {
            "ok": True,
            "format_title": verdict.get("format_title", ""),
            "warnings": [told(each) for each in verdict.get("warnings", [])],
        },
        "links": {"self": f"/api/v1/datasets/{dataset.id}", "page": f"/datasets/{dataset.id}"},
    }


def dataset_profile_json(dataset: Dataset) -> Shape:
    """The dataset with its first rows and what was counted; not where its rows lie."""
    found: Shape = dataset.verdict.get("profile") or {}
    counted = {name: value for name, value in found.items() if name not in ("files", "cuts")}
    return {
        **dataset_json(dataset),
        "preview": dataset.verdict.get("preview", []),
        "profile": counted,
    }


def device_json(device: Device, runs: Sequence[Run]) -> Shape:
    return {
        "name": device.name,
        "kind": device.kind,
        "title": device.title,
        "state": device.state,
        "state_reason": device.state_reason,
        "ready": device.ready,
        "silent": is_silent(device, clock.now()),
        "deaf": is_deaf(device),
        "fault": told(device.fault),
        "memory_bytes": device.memory_bytes,
        "memory_reserved_bytes": sum(run.memory_bytes for run in runs if run.device == device.name),
        "slots": device.slots,
        # What each run takes, by its id, is for those who may see the run.
        "telemetry": {key: value for key, value in device.telemetry.items() if key != "runs"},
        "runs": [
            {"id": run.id, "name": run.name, "state": run.state}
            for run in runs
            if run.device == device.name
        ],
    }
