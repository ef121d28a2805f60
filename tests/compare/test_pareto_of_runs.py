"""The picture of a comparison: what compares is on it, better is better, and words say the same."""

import math
import re

import pytest
from sqlalchemy.orm import Session

from app.compare.pareto import COSTS, Pareto, pareto_of
from app.compare.views import judged_apart
from app.database import transaction
from app.lineage.judged import BEFORE, KEYS
from app.metrics import store
from app.models import Run, RunState, User
from app.runs.queries import get_run
from tests.support.factories import make_dataset, make_run, make_user
from tests.support.site import two_classes


def measured(
    session: Session, owner: User, name: str, like: Run | None = None, **values: float
) -> Run:
    inputs = {"dataset_id": like.dataset_id, "base_model_id": like.base_model_id} if like else {}
    run = make_run(session, owner, name=name, state=RunState.SUCCEEDED, attempt=1, **inputs)
    named = {key.replace("__", "/"): value for key, value in values.items()}
    store.append(session, run.id, 1, [store.MetricRow(0, 1_770_000_000.0, named)])
    return run


def family(session: Session, owner: User) -> list[Run]:
    full = measured(session, owner, "full", test__accuracy=0.93, test__base_accuracy=0.2,
                    artifact__bytes=8e6, throughput__generated_tokens_per_second=100.0)  # fmt: skip
    small = measured(session, owner, "4 bits", full, test__accuracy=0.91, artifact__bytes=2e6,
                     throughput__generated_tokens_per_second=140.0)  # fmt: skip
    bad = measured(session, owner, "2 bits", full, test__accuracy=0.3, artifact__bytes=2.5e6)
    return [full, small, bad]


def pareto(
    session: Session, owner: User, runs: list[Run], quality: str = "", cost: str = ""
) -> Pareto:
    session.flush()
    found = pareto_of(session, [get_run(session, owner, run.id) for run in runs], quality, cost)
    assert found is not None
    return found


@pytest.fixture
def sam(session: Session) -> User:
    return make_user(session)


def test_the_front_of_any_runs(session: Session, sam: User) -> None:
    full, small, bad = runs = family(session, sam)
    found = pareto(session, sam, runs, cost="size").tradeoff
    assert found.best == [str(small.id), str(full.id)]
    assert found.beaten == {str(bad.id): [str(small.id)]}
    assert any("2 bits is dominated by 4 bits" in each for each in found.told)
    assert [each.name for each in found.costs] == ["size", "speed"]


def test_more_tokens_a_second_are_better(session: Session, sam: User) -> None:
    full, small, bad = runs = family(session, sam)
    found = pareto(session, sam, runs, cost="speed").tradeoff
    assert found.best == [str(small.id), str(full.id)]
    assert found.left_out == [bad.name]
    marks = {mark.name: mark.x for mark in found.pictures[0][1].marks}
    assert marks[str(full.id)] < marks[str(small.id)]


def test_what_was_judged_on_other_rows_is_apart(session: Session, sam: User) -> None:
    runs = family(session, sam)
    other = measured(session, sam, "elsewhere", test__accuracy=0.99, artifact__bytes=1e6)
    found = pareto(session, sam, [other, *runs], cost="size")
    assert list(found.apart) == ["elsewhere"]
    assert str(other.id) not in found.tradeoff.best
    assert pareto_of(session, [get_run(session, sam, other.id)]) is None


def test_no_line_of_an_untouched_model_where_they_started_from_different_ones(
    session: Session, sam: User
) -> None:
    full, small, _ = family(session, sam)
    assert pareto(session, sam, [full, small], cost="size").tradeoff.untouched == ""
    twin = measured(session, sam, "full", full, test__accuracy=0.9, test__base_accuracy=0.2,
                    artifact__bytes=8e6)  # fmt: skip
    found = pareto(session, sam, [full, twin], cost="size").tradeoff
    assert "20 %" in found.untouched
    assert len({mark.label for mark in found.pictures[0][1].marks}) == 2


def test_page_and_api_choose_the_axes(database_url: str) -> None:
    site = two_classes()
    with transaction() as session:
        runs = family(session, site.people["sam"])
        text = make_dataset(session)
        alone = make_run(session, site.people["sam"], dataset_id=text.id)
    ids = ",".join(str(run.id) for run in runs)
    client = site.client("sam")
    page = client.get(f"/compare?runs={ids}&quality=accuracy&cost=speed").text
    assert re.search(r'<option value="speed" selected>', page)
    assert f'<input type="hidden" name="runs" value="{ids}">' in page
    assert client.get(f"/compare?runs={ids}&quality=%27&cost=x").status_code == 200
    assert "tradeoff-title" not in client.get(f"/compare?runs={alone.id}").text
    told = site.script("sam").get(f"/api/v1/compare?runs={ids}&cost=size").json()["tradeoff"]
    assert (told["quality"], told["cost"]) == ("accuracy", "size")
    assert told["front"] == [str(runs[1].id), str(runs[0].id)]
    assert told["judged_otherwise"] == []


def test_no_figure_that_a_trainer_logs_breaks_a_page(sqlite_url: str) -> None:
    """Whatever it is: a picture that has no place for it leaves it out."""
    site = two_classes()
    page, script = site.client("sam"), site.script("sam")
    odd = (1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan, 0.0)
    keys = [key.replace("/", "__") for key in (*KEYS, *BEFORE.values())]
    with transaction() as session:
        sam, ids = site.people["sam"], []
        like = measured(session, sam, "sound", **dict.fromkeys(keys, 1.0))
        for at in range(len(odd)):
            values = {key: odd[(at + place) % len(odd)] for place, key in enumerate(keys)}
            ids.append(measured(session, sam, "odd", like, **values).id)
    address = f"compare?runs={','.join(map(str, [like.id, *ids]))}"
    for quality in ("accuracy", "perplexity"):
        for cost in COSTS:
            answer = page.get(f"/{address}&quality={quality}&cost={cost}")
            assert answer.status_code == 200
    assert script.get(f"/api/v1/{address}").status_code == 200
    for run_id in ids:
        assert page.get(f"/runs/{run_id}").status_code == 200
        assert script.get(f"/api/v1/runs/{run_id}").status_code == 200


def test_no_figure_is_best_of_what_was_judged_apart(session: Session, sam: User) -> None:
    full, small, _bad = family(session, sam)
    assert judged_apart(session, [full, small]) == frozenset()
    other = measured(session, sam, "other rows", test__accuracy=0.99)
    assert judged_apart(session, [full, other]) >= {"test/accuracy", "test/base_accuracy"}
