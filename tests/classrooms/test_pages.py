"""Pages of a class as each role sees them: board, sessions, limits, and the first page."""

from uuid import UUID

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.models import Classroom, ClassSession, Enrollment, RunState
from tests.support.factories import make_run
from tests.support.factories_class import make_session
from tests.support.site import Site

BLOCK = {"HX-Request": "true"}


def class_id(name: str = "Monday") -> UUID:
    with reading() as session:
        return session.scalars(select(Classroom.id).where(Classroom.name == name)).one()


def start_session(site: Site, name: str = "Monday", teacher: str = "maria") -> None:
    with transaction() as session:
        make_session(session, session.get_one(Classroom, class_id(name)), site.people[teacher])


def sessions_of(name: str = "Monday") -> list[ClassSession]:
    with reading() as session:
        own = select(ClassSession).where(ClassSession.classroom_id == class_id(name))
        return list(session.scalars(own.order_by(ClassSession.starts_at)))


@pytest.fixture
def held(site: Site) -> str:
    with transaction() as session:
        run = make_run(session, site.people["sam"], state=RunState.HELD, name="a stuck one")
        make_run(session, site.people["tess"], state=RunState.HELD, name="of Tuesday")
        return str(run.id)


def test_an_instructor_with_one_class_goes_straight_to_it(site: Site) -> None:
    answer = site.client("maria").get("/classrooms")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/classrooms/{class_id()}")
    listed = site.client("ada").get("/classrooms").text
    assert "Monday" in listed
    assert "Tuesday" in listed


def test_the_navigation_shows_classes_to_those_who_steer_them(site: Site) -> None:
    for name, shown in (("sam", False), ("maria", True), ("ada", True)):
        assert ('href="/classrooms"' in site.client(name).get("/queue").text) is shown


def test_the_board_shows_what_is_held_and_what_may_be_done(site: Site, held: str) -> None:
    page = site.client("maria").get(f"/classrooms/{class_id()}").text
    assert "a stuck one" in page
    assert "of Tuesday" not in page
    assert f'action="/runs/{held}/release"' in page
    assert f'action="/runs/{held}/cancellation"' in page


def test_a_student_sees_limits_and_hours_and_nobody_else(site: Site, held: str) -> None:
    start_session(site)
    page = site.client("sam").get(f"/classrooms/{class_id()}").text
    assert "Lab session of Monday until" in page
    assert "of 20" in page
    for hidden in ("maria", "tess", "/release", "/boost", "?sort="):
        assert hidden not in page.partition("<main")[2]


def test_the_board_alone_is_answered_to_htmx(site: Site) -> None:
    answer = site.client("maria").get(f"/classrooms/{class_id()}?sort=name", headers=BLOCK)
    assert answer.text.lstrip().startswith('<div id="board"')
    assert "HX-Request" in answer.headers["vary"]
    odd = site.client("maria").get(f"/classrooms/{class_id()}?sort=%3Cscript%3E")
    assert odd.status_code == 200
    assert "sort=stuck" in odd.text


def test_releasing_from_the_board_returns_to_it(site: Site, held: str) -> None:
    back = f"/classrooms/{class_id()}?sort=held"
    answer = site.client("maria").post(f"/runs/{held}/release", data={"next": back})
    assert (answer.status_code, answer.headers["location"]) == (303, back)


def test_hours_are_entered_in_ones_own_zone_and_kept_in_utc(site: Site) -> None:
    form = {"day": "2031-03-02", "from": "09:00", "until": "12:00", "offset": "480", "slice": "7"}
    maria = site.client("maria")
    assert maria.post(f"/classrooms/{class_id()}/sessions", data=form).status_code == 303
    made = sessions_of()[0]
    assert made.starts_at.isoformat() == "2031-03-02T01:00:00+00:00"
    assert made.ends_at.isoformat() == "2031-03-02T04:00:00+00:00"
    assert made.slice_seconds == 420
    assert (
        'datetime="2031-03-02T01:00:00+00:00"'
        in maria.get(f"/classrooms/{class_id()}/sessions").text
    )


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"day": ""}, "day", "Enter a day."),
        ({"until": "noon"}, "until", "Enter a time of day."),
        ({"until": "08:30"}, "until", "at most 12 hours; this one would last 23.5."),
        ({"day": "2020-03-02"}, "until", "This time is past."),
        ({"slice": "0"}, "slice", "from 1 to 240"),
        ({"from": "10:00"}, "from", "within these hours already"),
    ],
)
def test_hours_that_do_not_hold_are_named_and_what_was_entered_stays(
    site: Site, changes: dict[str, str], field: str, sentence: str
) -> None:
    maria = site.client("maria")
    address = f"/classrooms/{class_id()}/sessions"
    if field == "from":
        form = {"day": "2031-03-02", "from": "09:00", "until": "11:00"}
        assert maria.post(address, data=form).status_code == 303
    form = {"day": "2031-03-02", "from": "09:00", "until": "12:00", "slice": "5", **changes}
    before = len(sessions_of())
    answer = maria.post(address, data=form)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert sentence in answer.text
    assert f'value="{form[field]}"' in answer.text
    assert len(sessions_of()) == before


def test_one_is_started_extended_and_ended_at_once(site: Site) -> None:
    maria = site.client("maria")
    address = f"/classrooms/{class_id()}/sessions"
    assert maria.post(f"{address}/now", data={"hours": "1.5"}).status_code == 303
    made = sessions_of()[0]
    assert (made.ends_at - made.starts_at).total_seconds() == 5400
    assert maria.post(f"{address}/{made.id}/extension", data={"minutes": "30"}).status_code == 303
    assert (sessions_of()[0].ends_at - made.ends_at).total_seconds() == 1800
    assert maria.post(f"{address}/now", data={"hours": "2"}).status_code == 422
    assert maria.post(f"{address}/now", data={"hours": "99"}).status_code == 422
    assert maria.post(f"{address}/{made.id}/end").status_code == 303
    assert maria.post(f"{address}/{made.id}/end").status_code == 409
    assert "Past lab sessions" in maria.get(address).text


def test_classes_that_share_their_hours_are_told(site: Site) -> None:
    start_session(site, "Tuesday", "tariq")
    site.client("maria").post(f"/classrooms/{class_id()}/sessions/now", data={"hours": "1"})
    page = site.client("maria").get(f"/classrooms/{class_id()}/sessions").text
    assert "shared in these hours with: Tuesday." in page


def test_limits_are_saved_shown_and_refused_with_a_sentence(site: Site) -> None:
    maria = site.client("maria")
    address = f"/classrooms/{class_id()}/limits"
    form = {"max_waiting": "30", "max_device_seconds_per_person": "90"}
    assert maria.post(address, data=form).status_code == 303
    page = maria.get(address).text
    assert 'value="30"' in page
    assert 'value="90"' in page
    assert "checked" not in page
    refused = maria.post(address, data={"max_waiting": "lots"})
    assert refused.status_code == 422
    assert "enter a whole number from 1 to 1,000,000" in refused.text
    with reading() as session:
        kept = session.get_one(Classroom, class_id())
    assert (kept.max_waiting, kept.max_device_seconds_per_person) == (30, 5400)
    assert kept.offers_same_work is False


def test_the_first_page_tells_everybody_of_a_session(site: Site) -> None:
    start_session(site)
    for name in ("sam", "tess", "maria", "ada"):
        assert "Lab session of Monday until" in site.client(name).get("/").text


def test_the_first_page_shows_those_who_teach_what_is_held(site: Site, held: str) -> None:
    page = site.client("maria").get("/").text
    assert "Your classes" in page
    assert "a stuck one" in page
    assert "of Tuesday" not in page
    block = site.client("maria").get("/?part=classes", headers=BLOCK).text
    assert block.lstrip().startswith('<section id="board"')
    sams = site.client("sam").get("/").text
    assert "Your classes" not in sams
    assert "of 20" in sams


def test_an_instructor_who_learns_in_a_class_does_not_steer_it(site: Site) -> None:
    with transaction() as session:
        key = (class_id("Tuesday"), site.people["maria"].id)
        session.add(Enrollment(classroom_id=key[0], user_id=key[1], role="student"))
    maria = site.client("maria")
    page = maria.get(f"/classrooms/{class_id('Tuesday')}")
    assert page.status_code == 200
    assert "?sort=" not in page.text
    assert maria.get(f"/classrooms/{class_id('Tuesday')}/limits").status_code == 403
    assert "Tuesday" not in maria.get("/").text
