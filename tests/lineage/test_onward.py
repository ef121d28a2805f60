"""What a run's page offers to do next: labs that take what it left, in one click."""

from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.database import reading, transaction
from app.library.register import sync_bundled
from app.lineage.onward import onward_of
from app.models import Artifact, Dataset, LanguageModel, Run, RunState, User, new_id
from app.sweeps.ready import ready_sweep
from labs.registry import get
from tests.support.factories import make_device, make_run
from tests.support.site import two_classes

TRAINED = ["setup", "train"]


def left(lab: str, *kinds: str, stages: list[str] | None = None) -> tuple[Run, list[Artifact]]:
    run = Run(id=new_id(), lab=lab, state=RunState.SUCCEEDED, stages=stages or TRAINED, params={},
              seed=3, dataset=Dataset(format="prompt_completion"), dataset_id=new_id(),
              base_model_id=new_id())  # fmt: skip
    return run, [Artifact(name=kind, kind=kind, bytes=1) for kind in kinds]


def offered(lab: str, *kinds: str, stages: list[str] | None = None) -> list[str]:
    found = onward_of(*left(lab, *kinds, stages=stages))
    return [urlsplit(way.href).path.split("/")[2] for way in found.ways] if found else []


@pytest.mark.parametrize(
    ("lab", "kinds", "expected"),
    [
        ("full", ["model"], ["pruning", "quantization", "distillation", "lora", "serve"]),
        ("lora", ["adapter", "merged"], ["pruning", "quantization", "distillation", "lora", "serve"]),
        ("pruning", ["model"], ["quantization", "lora", "serve"]),
        ("distillation", ["model"], ["pruning", "quantization", "serve"]),
        ("quantization", ["quantized"], ["serve"]),
        ("lora", ["adapter"], ["lora"]),
        ("prefix_tuning", ["adapter", "guide"], []),
        ("serve", [], []),
    ],
)  # fmt: skip
def test_labs_that_take_what_was_left(lab: str, kinds: list[str], expected: list[str]) -> None:
    assert offered(lab, *kinds) == expected


def test_an_adapter_is_merged_first_by_all_stages_of_its_lab() -> None:
    run, artifacts = left("lora", "adapter")
    found = onward_of(run, artifacts)
    assert found is not None
    assert found.ways[0].href == f"/labs/lora/runs/new?from={run.id}&stages=all"
    every = [stage.name for stage in get("lora").stages]
    assert onward_of(*left("lora", "adapter", stages=every)) is None


def test_a_run_that_failed_offers_nothing() -> None:
    run, artifacts = left("full", "model")
    run.state = RunState.FAILED
    assert onward_of(run, artifacts) is None


def test_to_serve_waits_for_a_conversation() -> None:
    found = onward_of(*left("quantization", "quantized"))
    assert found is not None
    (way,) = found.ways
    assert parse_qs(urlsplit(way.href).query)["set.wait_seconds"] == ["600"]


def test_only_labs_with_a_usual_sweep_have_a_button_for_it() -> None:
    assert ready_sweep(get("pruning")) is not None
    assert ready_sweep(get("lora")) is None


def test_the_links_open_forms_that_are_filled_in_and_the_button_starts_three(
    database_url: str,
) -> None:
    site = two_classes()
    with transaction() as session:
        sync_bundled(session)
        make_device(session)
        run = whole(session, site.people["sam"])
    client = site.client("sam")
    page = client.get(f"/runs/{run.id}").text
    told = site.script("sam").get(f"/api/v1/runs/{run.id}").json()["onward"]
    assert len(told) == 6
    for each in told[:-1]:
        assert each["href"].replace("&", "&amp;") in page
        assert client.get(each["href"]).status_code == 200
    body = {**told[-1]["body"], "base_model": str(run.base_model_id)}
    started = client.post(told[-1]["href"], data=body)
    assert started.status_code == 303, started.text
    with reading() as session:
        sparsities = session.scalars(select(Run.params["sparsity"].as_float())).all()
    assert sorted(each for each in sparsities if each) == [0.2, 0.5, 0.7]


def whole(session: Session, owner: User) -> Run:
    model = session.scalars(select(LanguageModel).where(LanguageModel.name == "base")).one()
    dataset = session.scalars(select(Dataset).where(Dataset.name == "desk")).one()
    run = make_run(
        session, owner, state=RunState.SUCCEEDED, lab="full", attempt=1,
        base_model_id=model.id, dataset_id=dataset.id, finished_at=clock.now(),
    )  # fmt: skip
    session.add(
        Artifact(run_id=run.id, name="model", kind="model", path="artifacts/model", attempt=1,
                 bytes=10, sha256="ab" * 32, created_at=clock.now())
    )  # fmt: skip
    return run
