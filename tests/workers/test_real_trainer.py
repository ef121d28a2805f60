"""One run of the LoRA lab through the real forkserver and the real trainer, by the front door."""

from hashlib import sha256
from pathlib import Path

import pytest

from app.database import reading, transaction
from app.metrics import store
from app.models import RunState
from app.runs import queries
from app.runs.submit import Submission, submit
from tests.labs.tiny import make_dataset as write_dataset
from tests.labs.tiny import make_model as write_model
from tests.support.factories import make_dataset, make_model, make_user
from tests.workers.conftest import Bench, wait_for


@pytest.mark.slow
def test_a_lora_run_trains_and_leaves_an_adapter(bench: Bench, tmp_path: Path) -> None:
    bench.start_worker(module="tests.workers.real")
    model = write_model(tmp_path / "tiny")
    rows = write_dataset(tmp_path / "letters.jsonl")
    with transaction() as session:
        owner = make_user(session)
        make_model(session, name="tiny", path=str(model))
        content = rows.read_bytes()
        make_dataset(
            session,
            name="letters",
            path=str(rows),
            bytes=len(content),
            rows=len(content.splitlines()),
            sha256=sha256(content).hexdigest(),
        )
        wanted = Submission(
            "lora",
            {"steps": 4, "batch_size": 4, "max_length": 32, "evaluation_interval": 2},
            base_model="tiny",
            dataset="letters",
            seed=7,
        )
        run_id = submit(session, owner, wanted).id
    run = wait_for(run_id, RunState.SUCCEEDED, RunState.FAILED, RunState.HELD)
    assert run.state is RunState.SUCCEEDED, run.reason
    assert run.environment["device"] == "cpu"
    assert run.peak_memory_bytes is None or run.peak_memory_bytes > 1 << 20
    with reading() as session:
        left = {artifact.name: artifact for artifact in queries.artifacts(session, run_id)}
        frame = store.read(session, run_id)
    assert left
    assert frame.steps.max() == 4
    assert all(artifact.bytes > 0 for artifact in left.values())
