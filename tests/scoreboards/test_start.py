"""Starting a scoreboard: equal budgets, all or none, and who cannot take part is told."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import reading, transaction
from app.errors import Conflict, InvalidInput, TooMany
from app.models import Dataset, Device, Run, RunGroup
from app.scoreboards.entered import Entered
from app.scoreboards.form import scoreboard_form
from app.scoreboards.plan import Wanted, methods
from app.scoreboards.start import start_scoreboard
from tests.runs.conftest import write_model
from tests.support.factories import make_model, make_run
from tests.support.site import Site

THREE = ("lora", "ia3", "prompt_tuning")


@pytest.fixture
def without_biases(site: Site, tmp_path: Path) -> str:
    """The name of a base model that BitFit cannot serve."""
    folder = write_model(tmp_path / "plain")
    with transaction() as session:
        return make_model(session, name="plain", path=str(folder)).name


def start(site: Site, key: str | None = None, **values: Any) -> list[Run]:
    wanted = Wanted(**{"methods": THREE, "base_model": "base", "dataset": "tickets", **values})
    with transaction() as session:
        group = start_scoreboard(session, site.people["sam"], wanted, key)
        runs = select(Run).where(Run.group_id == group.id).order_by(Run.group_place)
        return list(session.scalars(runs))


def count(thing: type[Run] | type[RunGroup]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(thing)) or 0


def refused(site: Site, **values: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as told:
        start(site, **values)
    assert count(Run) == count(RunGroup) == 0
    return {each.field: str(each) for each in told.value.errors}


def test_every_method_gets_the_same_budget_and_its_own_learning_rate(site: Site) -> None:
    budget = {"steps": 30, "batch_size": 4, "gradient_accumulation": 2, "max_length": 128}
    runs = start(site, budget=budget, rates={"ia3": 0.02})
    assert sorted(run.lab for run in runs) == sorted(THREE)
    assert {run.seed for run in runs} == {0}
    for run in runs:
        assert {name: run.params[name] for name in budget} == budget
        assert run.params["epochs"] is None
        assert run.params["early_stopping_patience"] == 0
    rates = {run.lab: run.params["learning_rate"] for run in runs}
    assert rates["ia3"] == 0.02
    assert rates["lora"] != rates["prompt_tuning"]


def test_alone_each_run_reserves_a_whole_device(site: Site) -> None:
    with reading() as session:
        whole = session.scalars(select(Device.memory_bytes)).one()
    assert {run.memory_bytes for run in start(site)} == {whole}
    assert all(run.memory_bytes < whole for run in start(site, alone=False))


def test_the_same_key_starts_it_once_and_another_wish_is_a_conflict(site: Site) -> None:
    first, second = start(site, key="k"), start(site, key="k")
    assert [run.id for run in first] == [run.id for run in second]
    with pytest.raises(Conflict):
        start(site, key="k", budget={"steps": 3})
    assert count(RunGroup) == 1


def test_nothing_is_started_when_there_is_no_room_for_all(site: Site) -> None:
    with transaction() as session:
        for _ in range(18):
            make_run(session, site.people["sam"])
    with pytest.raises(TooMany):
        start(site)
    assert count(RunGroup) == 0
    assert count(Run) == 18


def test_what_is_wrong_is_told_once_at_its_field(site: Site) -> None:
    wrong = refused(site, budget={"steps": 0, "batch_size": "x"}, rates={"lora": 7})
    assert sorted(wrong) == ["batch_size", "learning_rates.lora", "steps"]
    assert sorted(refused(site, base_model="no-such")) == ["base_model"]
    assert sorted(refused(site, dataset="no-such")) == ["dataset"]
    assert "lora2" in refused(site, methods=["lora", "lora2"])["methods"]
    assert "at least two" in refused(site, methods=["lora", "lora"])["methods"]
    assert "learning_rate" in refused(site, budget={"learning_rate": 1})["budget"]
    assert "full" in refused(site, rates={"full": 1})["learning_rates"]


def test_a_method_that_refuses_the_base_is_named_with_its_reason(
    site: Site, without_biases: str
) -> None:
    told = refused(site, methods=["full", "bitfit"], base_model=without_biases)
    assert list(told) == ["methods"]
    assert told["methods"].startswith("BitFit cannot take part: ")


def test_the_form_marks_who_cannot_take_part_and_ticks_the_others(
    site: Site, without_biases: str
) -> None:
    with reading() as session:
        page = scoreboard_form(
            session, site.people["sam"], Entered(texts={"base_model": without_biases})
        )
    lines = {line.lab.slug: line for line in page.lines}
    assert set(lines) == {lab.slug for lab in methods()}
    assert lines["bitfit"].reason
    assert not lines["bitfit"].is_chosen
    assert lines["full"].is_chosen
    assert page.count == sum(line.is_chosen for line in lines.values())
    assert page.seconds is not None
    assert page.seconds[0] < page.seconds[1]
    assert not page.wrong


def test_a_dataset_that_none_takes_is_told_at_its_field(site: Site) -> None:
    with transaction() as session:
        tickets = session.scalars(select(Dataset).where(Dataset.name == "tickets")).one()
        tickets.format = "chosen_rejected"
    with reading() as session:
        page = scoreboard_form(session, site.people["sam"], Entered())
    assert [field.name for field in page.wrong] == ["dataset"]
    assert page.count == 0
