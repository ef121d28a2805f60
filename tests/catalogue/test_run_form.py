"""The form that starts a run: what it tells before, what it offers instead, and that nothing is lost."""

import html
import json
import re
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.database import transaction
from app.library.register import sync_bundled
from app.models import Classroom, Device, Run, RunState
from tests.support.carried_out import carry_out
from tests.support.factories import make_device, make_run
from tests.support.site import Site, two_classes

FORM = "/labs/lora/runs/new"
SEND = "/labs/lora/runs"
LOOK = "/labs/lora/estimate"
BIG = {"dataset": "campus", "batch_size": "512", "max_length": "1024"}
OFFER = "Take this result, without waiting"


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


def shrink_devices(memory_bytes: int) -> None:
    with transaction() as session:
        session.execute(update(Device).values(memory_bytes=memory_bytes))


def limit_class(**limits: Any) -> None:
    with transaction() as session:
        session.execute(update(Classroom).values(**limits))


def ways(answer: Response) -> list[dict[str, Any]]:
    """What each button of an alternative would fill in."""
    found = re.findall(r'data-set="([^"]+)"', answer.text)
    return [json.loads(html.unescape(each)) for each in found]


def total(panel: Response) -> int:
    """The memory that a panel shows in all."""
    return int(re.findall(r'<meter min="0" max="(\d+)"', panel.text)[0])


def test_the_panel_tells_what_is_cut(sam: TestClient) -> None:
    told = sam.post(LOOK, data={"max_length": "16"}).text
    assert "of the sampled rows are longer than 16 tokens" in told
    assert "of the sampled rows" not in sam.post(LOOK, data={"max_length": "256"}).text


def test_a_length_beyond_the_model_is_marked_where_it_was_entered(sam: TestClient) -> None:
    answer = sam.post(SEND, data={"max_length": "4096"})
    assert answer.status_code == 422
    assert "reads at most 1024 tokens" in answer.text
    assert re.findall(r'id="([\w-]+)-error"', answer.text) == ["max_length"]
    assert '<details class="fold" open' in answer.text


def test_the_parts_of_the_panel_add_up(sam: TestClient) -> None:
    told = sam.post(LOOK, data={})
    values = map(int, re.findall(r'<meter [^>]*value="(\d+)"', told.text))
    assert sum(values) == total(told)


def test_the_panel_offers_ones_own_finished_run(site: Site, sam: TestClient) -> None:
    work = {"steps": "10", "seed": "5"}
    assert OFFER not in sam.post(LOOK, data=work).text
    place = sam.post(SEND, data=work).headers["location"]
    with transaction() as session:
        carry_out(session, session.scalars(select(Run)).one())
    told = sam.post(LOOK, data=work).text
    assert OFFER in told
    assert f'href="{place}"' in told
    assert OFFER not in sam.post(LOOK, data={**work, "seed": "6"}).text
    taken = sam.post(SEND, data={**work, "reuse": "1"}).headers["location"]
    assert taken != place
    page = sam.get(taken).text
    assert "Result of the same work" in page
    assert "measured on Two cores" in page
    empty = re.findall(r'class="(?:charts|log)__empty[^>]*>(.*?)</p>', page)
    assert len(empty) == 2
    for panel in empty:
        assert "Nothing was computed for this run." in panel
        assert f'<a href="{place}">' in panel


def test_a_waiting_run_takes_it_from_its_page(site: Site, sam: TestClient) -> None:
    work = {"steps": "10", "seed": "5"}
    sam.post(SEND, data=work)
    with transaction() as session:
        carry_out(session, session.scalars(select(Run)).one())
    place = sam.post(SEND, data=work).headers["location"]
    assert OFFER in sam.get(place).text
    assert sam.post(f"{place}/same-work").headers["location"] == place
    assert OFFER not in sam.get(place).text
    with transaction() as session:
        states = session.scalars(select(Run.state)).all()
    assert states == [RunState.SUCCEEDED] * 2


def test_the_enter_key_starts_and_never_takes(sam: TestClient) -> None:
    """The first button of a form is the one that Enter presses."""
    form = re.search(r'<form id="run-form".*?</form>', sam.get(FORM).text, re.DOTALL)
    assert form is not None
    assert re.findall(r"<button[^>]*>", form.group())[0] == "<button hidden>"


def test_what_never_fits_offers_what_would_and_keeps_the_form(sam: TestClient) -> None:
    big = {**BIG, "name": "My own"}
    shrink_devices(total(sam.post(LOOK, data=big)) - 1)
    answer = sam.post(SEND, data=big)
    assert answer.status_code == 422
    assert "One of these would fit:" in answer.text
    assert 'value="My own"' in answer.text
    assert ways(answer)
    for changes in ways(answer):
        filled = {name: str(value).lower() for name, value in changes.items()}
        assert sam.post(SEND, data={**big, **filled}).status_code == 303


def test_the_panel_offers_only_what_would_fit(sam: TestClient) -> None:
    panel = sam.post(LOOK, data=BIG)
    shrink_devices(total(panel) // 2)
    assert 0 < len(ways(sam.post(LOOK, data=BIG))) < len(ways(panel))


def test_people_see_their_own_limits_beside_the_button(site: Site, sam: TestClient) -> None:
    assert "0 of 20 waiting" in sam.get(FORM).text
    limit_class(max_waiting_per_person=2, max_device_seconds_per_person=3600)
    with transaction() as session:
        make_run(session, site.people["sam"])
    page = sam.get(FORM).text
    assert "1 of 2 waiting" in page
    assert "0 of 60 device-minutes used in 24 hours" in page


def test_who_is_refused_loses_nothing_of_the_form(site: Site, sam: TestClient) -> None:
    limit_class(max_waiting_per_person=1)
    with transaction() as session:
        make_run(session, site.people["sam"])
    answer = sam.post(SEND, data={"rank": "3", "name": "Kept"})
    assert answer.status_code == 429
    assert "You have 1 of at most 1 runs waiting." in answer.text
    assert 'value="Kept"' in answer.text
    assert re.search(r'name="rank"[^>]*value="3"', answer.text)


def test_a_form_sent_twice_gives_one_run(sam: TestClient) -> None:
    (key,) = re.findall(r'name="idempotency_key" value="([^"]+)"', sam.get(FORM).text)
    places = {sam.post(SEND, data={"idempotency_key": key}).headers["location"] for _ in range(3)}
    assert len(places) == 1
