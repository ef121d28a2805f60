"""Base models over the API, on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import transaction
from app.library import register
from app.library.queries import list_models
from app.models import LanguageModel
from labs import registry
from tests.support.model_folder import make_folder
from tests.support.site import Site, two_classes


@pytest.fixture
def anywhere(database_url: str) -> Site:
    return two_classes()


def test_models_are_listed_with_their_facts_and_labs(anywhere: Site, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tiny")
    with transaction() as session:
        ada = session.merge(anywhere.people["ada"])
        made = register.register_model(session, ada, "tiny", str(folder))
        assert [each.name for each in list_models(session, "LLAMA")] == ["tiny"]
        assert list_models(session, "qwen") == []
    script = anywhere.script("sam")
    listed = script.get("/api/v1/models").json()["models"]
    assert [each["name"] for each in listed] == ["tiny"]
    one = script.get(listed[0]["links"]["self"]).json()
    assert one["facts"]["parameters"] == listed[0]["facts"]["parameters"] > 0
    assert (one["license"], one["problem"], one["origin"]) == ("mit", None, "folder")
    assert {each["lab"] for each in one["labs"]} == {lab.slug for lab in registry.all_labs()}
    assert str(folder) not in script.get(listed[0]["links"]["self"]).text
    with transaction() as session:
        ada = session.merge(anywhere.people["ada"])
        register.set_retired(session, ada, made.id, retired=True)
    assert script.get("/api/v1/models").json() == {"models": []}
    assert script.get(listed[0]["links"]["self"]).json()["retired_at"] is not None
    folder.joinpath("config.json").unlink()
    told = script.get(listed[0]["links"]["self"]).json()["problem"]
    assert "have changed" in told["text"]


def test_facts_of_an_earlier_release_are_no_error(anywhere: Site) -> None:
    with transaction() as session:
        session.add(
            LanguageModel(
                name="old", path="/nowhere", facts={"layers": 2},
                created_at=anywhere.people["ada"].created_at,
            )
        )  # fmt: skip
    script = anywhere.script("sam")
    model = script.get("/api/v1/models").json()["models"][0]
    assert script.get(model["links"]["self"]).json()["labs"] == []
    sam = anywhere.client("sam")
    assert "earlier release" in sam.get(model["links"]["page"]).text
    assert sam.get("/library").status_code == 200
    assert sam.get("/labs/lora/runs/new").status_code == 200
    with transaction() as session:
        assert session.scalars(select(LanguageModel.name)).all() == ["old"]
