"""The rows of keys, on both databases; and the usage that is added to them."""

from uuid import UUID

import pytest
from anyio import create_task_group
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from app.access import Action, can
from app.accounts import sessions
from app.database import reading, transaction
from app.endpoints import keys
from app.endpoints.usage import StreamReader, Tally, Usage, usage_of_body
from app.errors import Conflict, InvalidInput, NotFound, TooMany
from app.models import EndpointKey, RunState
from app.runs import queries
from tests.endpoints.front import end, serving
from tests.support.site import Site, two_classes


def make(site: Site, run_id: UUID, who: str = "sam", name: str = "") -> tuple[UUID, str]:
    with transaction() as session:
        actor = site.people[who]
        key, text = keys.make(session, actor, queries.get_run(session, actor, run_id), name)
        return key.id, text


def test_a_key_lives_from_making_to_revoking(database_url: str) -> None:
    site = two_classes()
    run_id = serving(site)
    key_id, text = make(site, run_id, name="notebook")
    assert text.startswith(keys.PREFIX)
    with reading() as session:
        key = keys.holder(session, text)
        assert key is not None
        assert (key.id, key.key_sha256, key.user.name) == (key_id, sessions.digest(text), "sam")
        admitted = keys.admit(session, key, run_id)
        assert admitted is not None
        assert (admitted.state, admitted.attempt) == (RunState.RUNNING, 1)
        assert keys.holder(session, text + "x") is None
    with start_blocking_portal() as portal:
        portal.call(_use, Tally(), key_id)
    others = [make(site, run_id, "maria")[0] for _ in range(2)]
    with transaction() as session:
        maria, sam = site.people["maria"], site.people["sam"]
        run = queries.get_run(session, maria, run_id)
        assert [each.id for each in keys.of_run(session, maria, run)] == [*others, key_id]
        keys.revoke(session, maria, run, key_id)
        keys.revoke(session, sam, run, others[0])
    with reading() as session:
        assert keys.holder(session, text) is None
        row = session.get_one(EndpointKey, key_id)
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (20, 40, 60)
        assert row.revoked_at is not None
        assert row.last_used_at is not None


async def _use(tally: Tally, key_id: UUID) -> None:
    async with create_task_group() as group:
        for _ in range(20):
            group.start_soon(tally.add, key_id, Usage(2, 3))


def test_keys_are_few_named_plainly_and_of_living_runs(sqlite_url: str) -> None:
    site = two_classes()
    run_id = serving(site)
    for name in ("x" * 81, "a\x00b", "a\nb"):
        with pytest.raises(InvalidInput):
            make(site, run_id, name=name)
    made = [make(site, run_id)[0] for _ in range(keys.MOST)]
    with pytest.raises(TooMany):
        make(site, run_id)
    make(site, run_id, "maria")
    with transaction() as session:
        run = queries.get_run(session, site.people["sam"], run_id)
        keys.revoke(session, site.people["sam"], run, made[0])
    make(site, run_id)
    end(run_id)
    with pytest.raises(Conflict):
        make(site, run_id)


def test_nobody_elses_run_gets_a_key(sqlite_url: str) -> None:
    site = two_classes()
    run_id = serving(site)
    key_id, _ = make(site, run_id)
    for name in ("tess", "tariq"):
        with pytest.raises(NotFound):
            make(site, run_id, name)
    others = serving(site, "tess")
    with transaction() as session:
        tess = site.people["tess"]
        run = queries.get_run(session, tess, others)
        with pytest.raises(NotFound):
            keys.revoke(session, tess, run, key_id)


def test_owner_instructor_and_admin_steer_an_endpoint(sqlite_url: str) -> None:
    site = two_classes()
    owner = site.people["sam"].id
    may = {name: can(site.people[name], Action.STEER_ENDPOINT, owner) for name in site.people}
    assert may == {"sam": True, "maria": True, "tariq": True, "ada": True, "tess": False}


@given(st.data())
def test_usage_is_found_wherever_a_stream_is_cut(data: st.DataObject) -> None:
    text = (
        b'data: {"choices": [": usage {}"]}\n\n: still here\n\n'
        b': usage {"prompt_tokens": 12, "completion_tokens": 34}\n\ndata: [DONE]\n\n'
    )
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    reader = StreamReader()
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        reader.read(text[start:stop])
    assert reader.usage == Usage(12, 34)


@pytest.mark.parametrize(
    "told", ["{}", '{"prompt_tokens": -1}', '{"prompt_tokens": "9"}', "[1]", "{", "null", "[" * 3000,
             '{"prompt_tokens": true, "completion_tokens": 1e9}'],
)  # fmt: skip
def test_nonsense_counts_as_nothing(told: str) -> None:
    reader = StreamReader()
    reader.read(f": usage {told}\n".encode())
    assert reader.usage == Usage()
    assert usage_of_body(f'{{"usage": {told}}}'.encode()) == Usage()
