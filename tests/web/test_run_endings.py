"""The page of a run that ended, as a browser gets it."""

import pytest

from app.database import transaction
from app.metrics import store
from app.metrics.store import MetricRow
from app.models import RunState
from labs.contract import Cause
from tests.support.factories import make_run
from tests.support.factories_web import make_shown_run
from tests.support.site import Site, two_classes

PARTS = {"weights": 1 << 20, "activations": 1 << 24, "library": 1 << 26}
ESTIMATE = {
    "memory_bytes": 1 << 27,
    "predicted_bytes": sum(PARTS.values()),
    "corrected_bytes": sum(PARTS.values()),
    "parts": PARTS,
    "seconds": [10.0, 20.0],
}


@pytest.fixture
def site(database_url: str) -> Site:
    return two_classes()


def ended(site: Site, cause: Cause) -> str:
    with transaction() as session:
        run = make_shown_run(
            session,
            site.people["sam"],
            RunState.FAILED,
            cause=cause.value,
            estimate=ESTIMATE,
            peak_memory_bytes=1 << 26,
            reason={"message": "It stopped at step {step}.", "values": {"step": 60}},
        )
        return str(run.id)


@pytest.mark.parametrize("cause", [Cause.OUT_OF_MEMORY, Cause.DIVERGED, Cause.LAB_CRASHED])
def test_an_end_is_told_with_what_to_press(site: Site, cause: Cause) -> None:
    run = ended(site, cause)
    page = site.client("sam").get(f"/runs/{run}").text
    assert 'id="ending-title"' in page
    assert "It stopped at step 60." in page
    assert f"/labs/lora/runs/new?from={run}" in page
    assert ('id="coach-title"' in page) == (cause is Cause.OUT_OF_MEMORY)
    assert (f'action="/runs/{run}/resubmission"' in page) == (cause is not Cause.OUT_OF_MEMORY)


def test_memory_and_time_are_a_block_of_their_own(site: Site) -> None:
    run = ended(site, Cause.DIVERGED)
    block = site.client("sam", **{"HX-Request": "true"}).get(f"/runs/{run}?part=costs").text
    assert block.lstrip().startswith("<div")
    assert "memory__part--activations" in block
    assert "Reserved, with a margin" in block


def test_the_api_tells_the_same(site: Site) -> None:
    run = ended(site, Cause.DIVERGED)
    told = site.script("sam").get(f"/api/v1/runs/{run}").json()
    assert told["cause"] == told["explanation"]["cause"] == "diverged"
    assert [each["body"] for each in told["explanation"]["next"]][:2] == [
        {"variant": "rate_3"},
        {"variant": "rate_10"},
    ]
    assert told["memory"]["measured_peak_bytes"] == 1 << 26
    assert told["memory"]["reserved_bytes"] == 1 << 27
    assert told["time"]["predicted_seconds"] == [10.0, 20.0]
    assert site.client("sam").get(f"/runs/{run}/report").text.startswith("The loss became")


def worse_run(site: Site) -> str:
    """A run that succeeded; its evaluations are of a model that was better before."""
    with transaction() as session:
        run = make_shown_run(session, site.people["sam"], steps=0)
        store.append(session, run.id, 1, [MetricRow(60, 1e9, {"eval/loss": 9.5})])
        return str(run.id)


def test_a_training_that_made_it_worse_says_so_with_what_to_press(site: Site) -> None:
    run = worse_run(site)
    sam = site.client("sam")
    page = sam.get(f"/runs/{run}").text
    assert "Worse than the untouched model" in page
    assert "Validation loss: 9.5 at step 60; 2.9 before training." in page
    assert f'action="/runs/{run}/resubmission"' in page
    told = site.script("sam").get(f"/api/v1/runs/{run}").json()["untouched_model"]
    assert told["verdict"] == "worse"
    (metric,) = told["metrics"]
    assert (metric["key"], metric["final"], metric["step"]) == ("eval/loss", 9.5, 60)
    assert told["next"][0]["body"] == {"variant": "rate_3"}
    assert "Worse than the untouched model" in sam.get(f"/compare?runs={run}").text


def test_a_training_that_helped_says_nothing_of_it(site: Site) -> None:
    with transaction() as session:
        run = make_shown_run(session, site.people["sam"]).id
    assert "untouched-title" not in site.client("sam").get(f"/runs/{run}").text
    assert site.script("sam").get(f"/api/v1/runs/{run}").json()["untouched_model"] is None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (RunState.QUEUED, ("to come", "Nothing has been written yet.", "Curves appear here")),
        (
            RunState.CANCELLED,
            ("not reached", "Nothing was written.", "Too little was measured for a curve."),
        ),
    ],
)
def test_empty_panels_promise_nothing_once_a_run_is_over(
    site: Site, state: RunState, words: tuple[str, ...]
) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"], state=state).id
    page = site.client("sam").get(f"/runs/{run}").text
    for each in words:
        assert each in page


def test_a_run_that_was_interrupted_says_how_far_it_is_and_urges_nothing(site: Site) -> None:
    with transaction() as session:
        values = {"cause": Cause.DRAINED.value, "device": None, "finished_at": None}
        run = make_shown_run(session, site.people["sam"], RunState.QUEUED, **values).id
    page = site.client("sam").get(f"/runs/{run}").text
    assert "50 % so far" in page
    ending = page.partition('id="ending-title"')[2].partition("</section>")[0]
    assert "Change parameters" in ending
    assert "button--primary" not in ending
