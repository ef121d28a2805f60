"""Who may use a dataset: a walk through everything that changes it, against a model of the rules."""

import random
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.audit.queries import entries
from app.classrooms import roster
from app.database import transaction
from app.datasets import queries, shares
from app.datasets.queries import DatasetFilters
from app.datasets.upload import delete_dataset
from app.errors import AppError, Conflict, Forbidden, NotFound
from app.models import Classroom, Dataset, Enrollment, Role
from app.runs.queries import datasets_for, find_dataset
from tests.support.factories import make_dataset, make_run
from tests.support.site import PEOPLE, Site, two_classes

STEPS = 40


@pytest.fixture
def site(database_url: str) -> Site:
    return two_classes()


@dataclass
class World:
    """What ought to be: who is in which class, whose each dataset is, and what is shared."""

    site: Site
    classes: dict[str, UUID]
    members: dict[str, set[str]] = field(
        default_factory=lambda: {"Monday": {"maria", "sam"}, "Tuesday": {"tariq", "tess"}}
    )
    owners: dict[UUID, str] = field(default_factory=dict)
    shared: set[tuple[UUID, str]] = field(default_factory=set)

    def may_use(self, name: str) -> set[UUID]:
        own = {each for each, owner in self.owners.items() if owner == name}
        given = {each for each, room in self.shared if name in self.members[room]}
        return set(self.owners) if PEOPLE[name] is Role.ADMIN else own | given

    def may_share_in(self, name: str, room: str) -> bool:
        return PEOPLE[name] is Role.ADMIN or name in self.members[room]


def upload(session: Session, world: World, who: str) -> None:
    made = make_dataset(session, owner_id=world.site.people[who].id)
    world.owners[made.id] = who


def share(session: Session, world: World, who: str, dataset: Dataset, room: str) -> None:
    expected: type[AppError] | None = None
    if world.owners[dataset.id] != who:
        expected = Forbidden
    elif not world.may_share_in(who, room):
        expected = NotFound
    with pytest.raises(expected) if expected else session.begin_nested():
        shares.share(session, world.site.people[who], dataset, world.classes[room])
    if expected is None:
        world.shared.add((dataset.id, room))


def take_back(session: Session, world: World, who: str, dataset: Dataset, room: str) -> None:
    steers = PEOPLE[who] is not Role.STUDENT and world.may_share_in(who, room)
    expected: type[AppError] | None = None
    if (dataset.id, room) not in world.shared:
        expected = NotFound
    elif world.owners[dataset.id] != who and not steers:
        expected = Forbidden
    with pytest.raises(expected) if expected else session.begin_nested():
        shares.end_share(session, world.site.people[who], dataset, world.classes[room])
    if expected is None:
        world.shared.discard((dataset.id, room))


def leave(session: Session, world: World, who: str, room: str) -> None:
    if who not in world.members[room]:
        return
    classroom = session.get_one(Classroom, world.classes[room])
    ada, leaver = world.site.people["ada"], world.site.people[who]
    roster.remove_person(session, ada, classroom, leaver.id)
    world.members[room].discard(who)
    world.shared = {
        (each, where) for each, where in world.shared if (world.owners[each], where) != (who, room)
    }


def join(session: Session, world: World, who: str, room: str) -> None:
    classroom = session.get_one(Classroom, world.classes[room])
    roster.add_people(session, world.site.people["ada"], classroom, who)
    world.members[room].add(who)


def forget(session: Session, world: World, dataset: Dataset) -> None:
    delete_dataset(session, dataset)
    world.shared = {each for each in world.shared if each[0] != dataset.id}
    del world.owners[dataset.id]


def check(session: Session, world: World) -> None:
    for name, actor in world.site.people.items():
        expected = world.may_use(name)
        seen = {each.id for each in session.scalars(datasets_for(actor))}
        assert seen == expected, name
        page, _more = queries.page_of_datasets(session, actor, DatasetFilters())
        assert {each.id for each in page} == expected
        for dataset_id in world.owners:
            found = find_dataset(session, actor, str(dataset_id))
            assert (found is not None) == (dataset_id in expected)


@pytest.mark.parametrize("seed", range(2))
def test_access_follows_shares_and_classes_whatever_happens(site: Site, seed: int) -> None:
    chance = random.Random(seed)
    with transaction() as session:
        rooms = {each.name: each.id for each in session.scalars(select(Classroom))}
        world = World(site, rooms)
        for who in ("sam", "tess", "maria", "ada"):
            upload(session, world, who)
        for _ in range(STEPS):
            who, room = chance.choice(sorted(PEOPLE)), chance.choice(sorted(rooms))
            dataset = session.get_one(Dataset, chance.choice(sorted(world.owners)))
            act = chance.choice([share, share, take_back, leave, join, upload, forget])
            if act in (share, take_back):
                act(session, world, who, dataset, room)
            elif act in (leave, join):
                act(session, world, who, room)
            elif act is upload:
                upload(session, world, who)
            elif len(world.owners) > 3:
                forget(session, world, dataset)
            check(session, world)


def shared_by_sam(site: Site) -> tuple[str, str]:
    """A dataset of sam's that his class may use; the class."""
    with transaction() as session:
        monday = session.scalars(select(Classroom.id).where(Classroom.name == "Monday")).one()
        sam = site.people["sam"]
        dataset = make_dataset(session, owner_id=sam.id, name="tickets")
        shares.share(session, sam, dataset, monday)
        return str(dataset.id), str(monday)


def statuses(site: Site, who: str, dataset: str, room: str) -> dict[str, int]:
    client, url = site.client(who), f"/datasets/{dataset}"
    asked = {
        "page": client.get(url),
        "rows": client.get(f"{url}?page=2", headers={"HX-Request": "true"}),
        "file": client.get(f"{url}/file"),
        "asking": client.get(f"{url}/deletion/new"),
        "json": client.get(f"/api/v1{url}"),
        "share": client.post(f"{url}/shares", data={"classroom": room}),
        "delete": client.post(f"{url}/deletion"),
    }
    return {name: answer.status_code for name, answer in asked.items()}


def test_strangers_find_nothing_and_members_only_look(site: Site) -> None:
    dataset, room = shared_by_sam(site)
    taking_back = f"/datasets/{dataset}/shares/{room}/deletion"
    for stranger in ("tess", "tariq"):
        assert set(statuses(site, stranger, dataset, room).values()) == {404}
        assert site.client(stranger).post(taking_back).status_code == 404
    site.add("mo")
    with transaction() as session:
        session.add(
            Enrollment(classroom_id=UUID(room), user_id=site.people["mo"].id, role=Role.STUDENT)
        )
    member = statuses(site, "mo", dataset, room)
    # The factory's dataset has no file on this disk; its page says so and stands.
    assert member == {
        "page": 200, "rows": 200, "file": 404, "asking": 403, "json": 200, "share": 403,
        "delete": 403,
    }  # fmt: skip
    page = site.client("mo").get(f"/datasets/{dataset}").text
    assert "Take back" not in page
    assert "Share with the class" not in page
    assert "Monday" in page
    assert site.client("mo").post(taking_back).status_code == 403
    assert site.client("maria").post(taking_back).status_code == 303
    assert site.client("mo").get(f"/datasets/{dataset}").status_code == 404


def test_a_run_goes_on_when_its_dataset_is_taken_back_and_keeps_it(site: Site) -> None:
    dataset, room = shared_by_sam(site)
    with transaction() as session:
        run = make_run(session, site.people["maria"], dataset_id=UUID(dataset))
    sam = site.client("sam")
    assert sam.post(f"/datasets/{dataset}/shares/{room}/deletion").status_code == 303
    assert site.client("maria").get(f"/datasets/{dataset}").status_code == 404
    seen = site.client("maria").get(f"/runs/{run.id}")
    assert (seen.status_code, "tickets" in seen.text) == (200, True)
    assert f"/datasets/{dataset}" not in seen.text
    with transaction() as session:
        row = session.get_one(Dataset, UUID(dataset))
        with pytest.raises(Conflict):
            delete_dataset(session, row)
    # Whose run it is, is not the owner's business.
    page = sam.get(f"/datasets/{dataset}").text
    assert str(run.id) not in page
    assert "None that you may see." in page


def test_what_others_share_takes_no_name_away(site: Site) -> None:
    dataset, _room = shared_by_sam(site)
    with transaction() as session:
        maria, sam = site.people["maria"], site.people["sam"]
        bundled = make_dataset(session, name="tickets", bundled=True)
        found = {name: find_dataset(session, site.people[name], "tickets") for name in PEOPLE}
        chosen = {name: each.id for name, each in found.items() if each}
        expected = {**dict.fromkeys(PEOPLE, bundled.id), "sam": UUID(dataset)}
        assert chosen == expected
        session.execute(delete(Dataset).where(Dataset.id == bundled.id))
        other = find_dataset(session, maria, "tickets")
        assert other is not None
        assert other.owner_id == sam.id


def test_sharing_twice_is_sharing_once_and_stands_in_the_log(site: Site) -> None:
    dataset, room = shared_by_sam(site)
    sam = site.client("sam")
    assert sam.post(f"/datasets/{dataset}/shares", data={"classroom": room}).status_code == 303
    url = f"/datasets/{dataset}/shares/{room}/deletion"
    assert [sam.post(url).status_code for _ in range(2)] == [303, 404]
    for wrong, status in ((str(uuid4()), 404), ("x", 422), ("", 422)):
        answer = sam.post(f"/datasets/{dataset}/shares", data={"classroom": wrong})
        assert answer.status_code == status
    with transaction() as session:
        acts = [row.entry.action for row in entries(session)[0]]
    assert acts.count("dataset_shared") == 1
    assert acts.count("dataset_unshared") == 1
