"""A deleted run is gone for everybody, with what it left; what others need of it is not."""

from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import clock
from app.access import visible
from app.api.archive import zipped
from app.database import commit, reading, transaction
from app.errors import Conflict, Forbidden, InUse, InvalidInput, NotFound
from app.models import Artifact, Attempt, AuditEntry, Role, Run, RunResource, RunState, User
from app.runs import same_work, taking
from app.runs.deletion import DELETED, LEFT, delete_run, remove_left_over
from app.runs.submit import submit
from app.runs.usage import device_seconds_since
from app.settings import get_settings
from tests.runs.conftest import Library, write_model
from tests.support.carried_out import carry_out
from tests.support.factories import NOON, make_attempt, make_device, make_run, make_user
from tests.support.interleave import Deed, interleave
from tests.support.site import Site, two_classes

OVER: dict[str, Any] = {"state": RunState.SUCCEEDED, "attempt": 1, "device": "cpu"}


def finished(library: Library, **values: Any) -> Run:
    make_device(library.session)
    run = carry_out(library.session, library.submit(seed=7, **values))
    library.session.commit()
    return run


def left_of(session: Session, run_id: UUID) -> int:
    tables = [table for table in LEFT if table is not RunResource]
    return sum(
        session.scalar(select(func.count()).select_from(table).where(table.run_id == run_id)) or 0
        for table in tables
    )


def test_rows_and_files_go_and_the_use_stays(library: Library) -> None:
    run, student = finished(library), library.student
    used = device_seconds_since(library.session, NOON, owner=student.id)
    assert left_of(library.session, run.id) > 3
    delete_run(library.session, student, run.id)
    folder = get_settings().run_dir(run.id)
    assert folder.is_dir()  # until the commit
    commit(library.session)
    assert not folder.exists()
    assert list(get_settings().runs_dir.glob(f"{DELETED}*")) == []
    assert left_of(library.session, run.id) == 0
    assert library.session.scalar(select(func.count()).select_from(Attempt)) == 1
    assert device_seconds_since(library.session, NOON, owner=student.id) == used
    entry = library.session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.target) == ("delete_run", str(run.id))
    with pytest.raises(NotFound):
        delete_run(library.session, student, run.id)


@pytest.mark.parametrize("role", list(Role))
def test_nobody_sees_a_deleted_run(session: Session, role: Role) -> None:
    person = make_user(session, role=role)
    kept = make_run(session, person)
    make_run(session, person, **OVER, deleted_at=clock.now())
    assert session.scalars(select(Run.id).where(visible(person))).all() == [kept.id]


def test_only_its_owner_and_admins_delete_and_only_what_is_over(session: Session) -> None:
    sam, tess = make_user(session), make_user(session)
    run = make_run(session, sam, **OVER)
    with pytest.raises(NotFound):
        delete_run(session, tess, run.id)
    for state in set(RunState) - {s for s in RunState if s.is_over}:
        live = make_run(session, sam, state=state)
        with pytest.raises(Conflict):
            delete_run(session, sam, live.id)
    delete_run(session, make_user(session, role=Role.ADMIN), run.id)


def test_a_run_that_others_were_made_from_stays_and_says_which(session: Session) -> None:
    sam, tess = make_user(session), make_user(session)
    run = make_run(session, sam, **OVER)
    child = make_run(session, sam, name="pruned", parent_run_id=run.id, state=RunState.FAILED)
    student = make_run(session, tess, name="a secret")
    session.add(RunResource(run_id=student.id, name="teacher", used_run_id=run.id))
    session.flush()
    with pytest.raises(InUse) as refused:
        delete_run(session, sam, run.id)
    assert refused.value.used_by == ((child.id, "pruned"),)
    assert refused.value.others == 1
    assert "secret" not in str(refused.value)
    delete_run(session, sam, child.id)
    student.state, student.finished_at = RunState.CANCELLED, clock.now()
    session.flush()
    delete_run(session, tess, student.id)
    delete_run(session, sam, run.id)


def test_it_stays_whatever_state_the_run_made_from_it_is_in(session: Session) -> None:
    sam = make_user(session)
    for state in RunState:
        run = make_run(session, sam, **OVER)
        make_run(session, sam, parent_run_id=run.id, state=state)
        with pytest.raises(InUse):
            delete_run(session, sam, run.id)


def test_a_key_that_made_a_deleted_run_says_so(library: Library) -> None:
    run = finished(library, idempotency_key="once")
    delete_run(library.session, library.student, run.id)
    with pytest.raises(Conflict, match="was deleted"):
        library.submit(seed=7, idempotency_key="once")


def test_a_result_that_was_taken_over_lives_on_and_is_offered_instead(library: Library) -> None:
    source, again = finished(library), library.submit(seed=7)
    offer = same_work.offer_for(library.session, again)
    assert offer is not None
    taking.take(library.session, again, offer)
    commit(library.session)
    delete_run(library.session, library.student, source.id)
    commit(library.session)
    weights = get_settings().run_dir(again.id) / "artifacts/adapter/weights.bin"
    assert weights.read_bytes() == b"w" * 1000
    third = library.submit(seed=7)
    offered = same_work.offer_for(library.session, third)
    assert offered is not None
    assert (offered.source, offered.origin.own_run) == (again.id, None)
    with pytest.raises(Conflict):
        taking.take(library.session, third, same_work.Offer(source.id, 7, offer.origin))


def test_what_a_crash_left_of_deleted_runs_is_tidied(session: Session) -> None:
    sam = make_user(session)
    kept, gone = (make_run(session, sam, **OVER) for _ in range(2))
    gone.deleted_at = clock.now()
    session.commit()
    folders = [get_settings().run_dir(name) for name in (kept.id, gone.id, f"{DELETED}{sam.id}")]
    for folder in folders:
        (folder / "artifacts").mkdir(parents=True)
    assert remove_left_over() == 2
    assert [folder.exists() for folder in folders] == [True, False, False]


# A submission has many statements before those that matter: every third is as good.
@pytest.mark.parametrize(("deletes_first", "every"), [(True, 1), (False, 3)])
def test_a_parent_that_goes_while_a_child_is_sent(
    library: Library, deletes_first: bool, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is: whoever is late is told, and no run is left without its start."""
    monkeypatch.setenv("BUNSEN_MAX_WAITING_PER_PERSON", "100")
    get_settings.cache_clear()
    for at in count(step=every):
        parent = whole_model(library)
        deeds = (deleting(library.student, parent), sending(library, parent))
        first, second = deeds if deletes_first else deeds[::-1]
        there_is_more, *accepted = interleave(first, second, at)
        assert sorted(accepted) == [False, True]
        is_sent = accepted[deletes_first]
        with reading() as session:
            children = select(func.count()).where(Run.parent_run_id == parent)
            assert session.scalar(children) == is_sent
            assert (session.get_one(Run, parent).deleted_at is None) == is_sent
        assert get_settings().run_dir(parent).exists() == is_sent
        if not there_is_more:
            return


def whole_model(library: Library) -> UUID:
    """A run of the student's that succeeded and left a merged model."""
    run = make_run(
        library.session, library.student, **OVER,
        base_model_id=library.model.id, dataset_id=library.dataset.id,
    )  # fmt: skip
    folder = write_model(get_settings().run_dir(run.id) / "artifacts" / "merged")
    library.session.add(
        Artifact(run_id=run.id, name="merged", kind="merged", path="artifacts/merged", attempt=1,
                 bytes=(folder / "model.safetensors").stat().st_size, sha256="ab" * 32,
                 created_at=NOON)
    )  # fmt: skip
    library.session.commit()
    return run.id


def deleting(student: User, run_id: UUID) -> Deed:
    def delete(session: Session) -> None:
        try:
            delete_run(session, session.get_one(User, student.id), run_id)
        except (InUse, Forbidden) as late:
            raise Conflict(late.message) from late

    return delete


def sending(library: Library, parent: UUID) -> Deed:
    student = library.student.id
    wanted = library.submission(base_model=None, parent_run=parent)

    def send(session: Session) -> None:
        try:
            submit(session, session.get_one(User, student), wanted)
        except InvalidInput as late:
            raise Conflict(late.message) from late

    return send


@pytest.fixture
def site(database_url: str) -> Site:
    return two_classes()


def test_the_pages_ask_first_and_list_who_needs_it(site: Site) -> None:
    with transaction() as session:
        sam = site.people["sam"]
        run = make_run(session, sam, **OVER, finished_at=NOON, started_at=NOON)
        make_attempt(session, run)
        child = make_run(session, sam, name="the <child>", parent_run_id=run.id, **OVER)
        others = make_run(session, site.people["tess"], name="a secret", parent_run_id=run.id)
    client, script = site.client("sam"), site.script("sam")
    page = client.get(f"/runs/{run.id}").text
    assert f'href="/runs/{run.id}/deletion/new"' in page
    assert f'action="/runs/{run.id}/deletion"' in page
    refused = client.post(f"/runs/{run.id}/deletion")
    assert refused.status_code == 409
    for text in (page, refused.text, client.get(f"/runs/{run.id}/deletion/new").text):
        assert "the &lt;child&gt;" in text
        assert "a secret" not in text
    told = script.post(f"/api/v1/runs/{run.id}/deletion")
    assert told.status_code == 409
    assert told.json()["used_by"] == [{"id": str(child.id), "name": "the <child>"}]
    assert told.json()["others"] == 1
    assert site.client("maria").get(f"/runs/{run.id}/deletion/new").status_code == 403
    assert "Delete this run?" not in site.client("maria").get(f"/runs/{run.id}").text
    with transaction() as session:
        session.get_one(Run, others.id).deleted_at = clock.now()
    assert client.post(f"/runs/{child.id}/deletion").headers["location"] == "/runs"
    assert script.post(f"/api/v1/runs/{run.id}/deletion").json()["deleted"] is True
    for path in (f"/runs/{run.id}", f"/compare?runs={run.id}", f"/runs/{run.id}/deletion/new"):
        assert client.get(path).status_code == 404
    for part in ("", "/metrics", "/artifacts", "/log", "/events"):
        assert script.get(f"/api/v1/runs/{run.id}{part}").status_code == 404
    assert script.get("/api/v1/runs").json()["runs"] == []


def test_a_run_that_goes_while_it_is_packed_is_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"], **OVER)
        session.add(
            Artifact(run_id=run.id, name="m", kind="model", path="artifacts/m", attempt=1,
                     bytes=1, sha256="ab" * 32, created_at=NOON)
        )  # fmt: skip
    (get_settings().run_dir(run.id) / "artifacts" / "m").mkdir(parents=True)
    sam = site.script("sam")

    def pack_late(folder: Path, sha256: str) -> Path:
        sam.post(f"/api/v1/runs/{run.id}/deletion")
        return zipped(folder, sha256)

    monkeypatch.setattr("app.api.files.zipped", pack_late)
    assert sam.get(f"/api/v1/runs/{run.id}/artifacts/m").status_code == 404
    assert not get_settings().run_dir(run.id).exists()


def test_an_admin_deletes_large_runs_from_the_page_of_storage(site: Site) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"], name="large", **OVER)
    folder = get_settings().run_dir(run.id)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * 100)
    ada = site.client("ada")
    assert f'href="/runs/{run.id}/deletion/new"' in ada.get("/admin/storage").text
    assert ada.post(f"/runs/{run.id}/deletion").status_code == 303
    assert str(run.id) not in ada.get("/admin/storage").text
    log = ada.get("/admin/audit").text
    assert "deleted <strong>" in log
    assert f'href="/runs/{run.id}"' not in log
