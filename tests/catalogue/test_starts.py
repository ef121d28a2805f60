"""The form of a run that starts from what another run left, and that names text or a model."""

import re
import shutil
from uuid import UUID

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.database import transaction
from app.library.register import sync_bundled
from app.models import Artifact, LanguageModel, Run
from app.settings import get_settings
from labs import bundled
from tests.support.carried_out import carry_out
from tests.support.factories import make_device
from tests.support.site import Site, two_classes


@pytest.fixture
def site(database_url: str) -> Site:
    made = two_classes()
    with transaction() as session:
        sync_bundled(session)
        make_device(session, title="Two cores", ready=False)
    return made


@pytest.fixture
def sam(site: Site) -> TestClient:
    return site.client("sam")


@pytest.fixture
def merged(sam: TestClient) -> UUID:
    """Sam's finished run, which left a model: the bundled student under another name."""
    sam.post("/labs/full/runs", data={"steps": "5", "name": "Tuned by Sam"})
    with transaction() as session:
        run = carry_out(session, session.scalars(select(Run)).one())
        folder = get_settings().run_dir(run.id) / "artifacts" / "adapter"
        shutil.copytree(bundled.models()["student"], folder, dirs_exist_ok=True)
        session.scalars(select(Artifact)).one().kind = "merged"
        return run.id


def chosen(page: str, name: str) -> list[str]:
    """The values that are selected in a choice."""
    select_ = re.search(rf'<select[^>]*name="{name}".*?</select>', page, re.DOTALL)
    assert select_, f"no choice {name}"
    return re.findall(r'<option value="([^"]*)" selected', select_[0])


def test_a_link_opens_the_form_with_parent_and_parameters(sam: TestClient, merged: UUID) -> None:
    page = sam.get(f"/labs/quantization/runs/new?parent={merged}&set.bits=8&set.method=rtn").text
    assert chosen(page, "base_model") == [f"run:{merged}"]
    assert (chosen(page, "bits"), chosen(page, "method")) == (["8"], ["rtn"])
    assert "Tuned by Sam (merged)" in page
    assert chosen(page, "calibration") == ["campus"]


def test_the_form_starts_a_run_from_it_and_gives_it_again(sam: TestClient, merged: UUID) -> None:
    sent = {"base_model": f"run:{merged}", "method": "rtn"}
    assert "memory" in sam.post("/labs/quantization/estimate", data=sent).text.lower()
    place = sam.post("/labs/quantization/runs", data=sent).headers["location"]
    with transaction() as session:
        run = session.scalars(select(Run).where(Run.lab == "quantization")).one()
        root = session.get_one(LanguageModel, run.base_model_id)
        assert (run.parent_run_id, root.name) == (merged, "base")
    assert "Tuned by Sam" in sam.get(place).text
    again = sam.get(f"/labs/quantization/runs/new?from={run.id}").text
    assert chosen(again, "base_model") == [f"run:{merged}"]


def test_somebody_elses_run_is_no_choice(site: Site, merged: UUID) -> None:
    tess = site.client("tess")
    page = tess.get(f"/labs/quantization/runs/new?parent={merged}").text
    assert "Tuned by Sam" not in page
    # Nor is another model chosen in its place, behind the person's back.
    assert chosen(page, "base_model") == [f"run:{merged}"]
    answer = tess.post("/labs/quantization/runs", data={"base_model": f"run:{merged}"})
    assert (answer.status_code, "There is no such run." in answer.text) == (422, True)
    assert chosen(answer.text, "base_model") == [f"run:{merged}"]


def test_a_start_that_is_gone_is_not_replaced_by_another(sam: TestClient, merged: UUID) -> None:
    sam.post("/labs/quantization/runs", data={"base_model": f"run:{merged}", "method": "rtn"})
    with transaction() as session:
        run = session.scalars(select(Run).where(Run.lab == "quantization")).one()
        session.scalars(select(Artifact)).one().kind = "adapter"
    again = f"/labs/quantization/runs/new?from={run.id}"
    assert chosen(sam.get(again).text, "base_model") == [f"run:{merged}"]
    told = sam.post("/labs/quantization/estimate", data={"base_model": f"run:{merged}"}).text
    assert "has left an adapter" in told


@pytest.mark.parametrize("text", ["run:", "run:nonsense", "run:\0"])
def test_nonsense_for_a_run_is_told_at_the_field(sam: TestClient, text: str) -> None:
    answer = sam.post("/labs/quantization/runs", data={"base_model": text})
    assert answer.status_code == 422
    assert 'id="base_model-error"' in answer.text
