"""An upload in pieces: whatever order and repetition they arrive in, the same dataset comes out."""

import json
import re
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.database import transaction
from app.datasets import pieces
from app.datasets.examples import EXAMPLES
from app.datasets.upload import add_pasted
from app.models import Dataset
from app.settings import get_settings
from labs.formats import FORMATS
from tests.support.site import Site

ROWS = "".join(
    json.dumps({"text": f"row {n}", "label": f"l{n % 3}"}) + "\n" for n in range(40)
).encode()
NAME = "rows.jsonl"


def begin(client: TestClient, size: int = len(ROWS), name: str = NAME) -> tuple[str, int]:
    answer = client.post("/datasets/uploads", data={"name": name, "size": size, "modified": "1"})
    assert answer.status_code == 200, answer.text
    return answer.json()["key"], answer.json()["received"]


def send(client: TestClient, key: str, offset: int, content: bytes) -> tuple[int, int]:
    answer = client.put(f"/datasets/uploads/{key}?offset={offset}", content=content)
    return answer.status_code, answer.json()["received"]


def finish(
    client: TestClient, key: str, name: str = NAME, size: int = len(ROWS)
) -> tuple[int, str, str]:
    sent = {"name": name, "size": size}
    answer = client.post(f"/datasets/uploads/{key}/completion", data=sent)
    return answer.status_code, answer.headers.get("location", ""), answer.text


def unfinished() -> list[str]:
    return [path.name for path in (get_settings().datasets_dir / "quarantine").glob("*.part")]


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    asked=st.lists(st.tuples(st.integers(0, len(ROWS)), st.integers(1, 600)), max_size=12),
    resumes=st.booleans(),
)
def test_only_the_piece_that_fits_is_added(
    site: Site, asked: list[tuple[int, int]], resumes: bool
) -> None:
    sam = site.people["sam"]
    key, received = pieces.begin(sam, NAME, len(ROWS), "1")
    pieces.forget(sam, key)
    key, received = pieces.begin(sam, NAME, len(ROWS), "1")
    assert received == 0
    for offset, length in asked:
        fits, now = pieces.put(sam, key, offset, ROWS[offset : offset + length])
        assert fits == (offset == received)
        received += len(ROWS[offset : offset + length]) if fits else 0
        assert now == received
    if resumes:
        assert pieces.begin(sam, NAME, len(ROWS), "1") == (key, received)
    pieces.put(sam, key, received, ROWS[received:])
    assert pieces._path(sam, key).read_bytes() == ROWS


def test_a_broken_upload_goes_on_and_gives_the_dataset_of_the_whole_file(site: Site) -> None:
    sam = site.client("sam")
    key, _ = begin(sam)
    assert send(sam, key, 0, ROWS[:700]) == (200, 700)
    assert send(sam, key, 0, ROWS[:700]) == (409, 700)
    assert begin(site.client("sam")) == (key, 700)
    assert send(sam, key, 700, ROWS[700:]) == (200, len(ROWS))
    status, location, _ = finish(sam, key)
    assert status == 201
    assert unfinished() == []
    plain = sam.post("/datasets", files={"file": (NAME, ROWS)})
    assert plain.headers["location"] == location
    assert finish(sam, key)[0] == 404
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Dataset)) == 1


def test_a_part_that_ends_with_a_row_is_not_taken_for_the_whole(site: Site) -> None:
    sam = site.client("sam")
    key, _ = begin(sam)
    part = ROWS[: ROWS.index(b"\n", len(ROWS) // 2) + 1]
    send(sam, key, 0, part)
    status, location, text = finish(sam, key)
    assert (status, location, json.loads(text)) == (409, "", {"received": len(part)})
    send(sam, key, len(part), ROWS[len(part) :])
    assert finish(sam, key)[0] == 201


def test_an_upload_is_its_senders_alone(site: Site) -> None:
    sam, tess = site.client("sam"), site.client("tess")
    key, _ = begin(sam)
    send(sam, key, 0, ROWS)
    assert tess.put(f"/datasets/uploads/{key}?offset=0", content=b"x").status_code == 404
    assert finish(tess, key)[0] == 404
    assert tess.post(f"/datasets/uploads/{key}/deletion").status_code == 204
    assert begin(tess)[1] == 0
    assert finish(sam, key)[0] == 201
    for odd in ("x", "..%2f..%2fx", "a" * 31, "A" * 32):
        assert sam.put(f"/datasets/uploads/{odd}?offset=0", content=b"x").status_code == 404


def test_what_is_wrong_comes_as_the_part_of_the_page_and_nothing_is_kept(site: Site) -> None:
    sam = site.client("sam")
    bad = ROWS + b"{broken\n"
    key, _ = begin(sam, len(bad))
    send(sam, key, 0, bad)
    status, _, text = finish(sam, key, size=len(bad))
    assert status == 422
    assert text.lstrip().startswith("<section")
    assert "Line 41" in text.split("data-problems")[1]
    assert unfinished() == []


def test_a_site_takes_no_more_than_it_says(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNSEN_MAX_UPLOAD_BYTES", str(2 << 20))
    get_settings.cache_clear()
    sam = site.client("sam")
    large = {"name": NAME, "size": 3 << 20, "modified": ""}
    refused = sam.post("/datasets/uploads", data=large)
    assert (refused.status_code, "larger than 2 MiB" in refused.text) == (422, True)
    key, _ = begin(sam, 10)
    for turn in range(2):
        assert send(sam, key, turn << 20, b"x" * (1 << 20))[0] == 200
    assert sam.put(f"/datasets/uploads/{key}?offset={2 << 20}", content=b"x").status_code == 422
    assert sam.put(f"/datasets/uploads/{key}?offset=0", content=b"x" * (3 << 20)).status_code == 413
    for wrong in ({"size": "-1"}, {"size": "x"}, {}):
        assert sam.post("/datasets/uploads", data={"name": "a", **wrong}).status_code == 422
    for number in range(6):
        begin(sam, 10, f"{number}.jsonl")
    assert len(unfinished()) == pieces.MOST_AT_ONCE


def test_every_example_is_accepted_as_it_stands(site: Site) -> None:
    assert set(EXAMPLES) == {each.name for each in FORMATS}
    with transaction() as session:
        for name, (_title, rows) in EXAMPLES.items():
            assert add_pasted(session, site.people["sam"], "", rows).format == name


def test_pasted_rows_become_a_dataset_or_stay_in_the_box(site: Site) -> None:
    sam = site.client("sam")
    page = sam.get("/datasets?example=preference").text
    box = unescape(re.split(r"<textarea[^>]*>\n", page)[1].split("</textarea>")[0])
    assert box == EXAMPLES["preference"][1]
    made = sam.post("/datasets", data={"rows": box, "name": "my <rows>"})
    assert made.status_code == 303
    assert "my-rows" in sam.get(made.headers["location"]).text
    wrong = box + "</textarea>{broken"
    refused = sam.post("/datasets", data={"rows": wrong, "name": "again"})
    assert refused.status_code == 422
    problems = refused.text.split('id="rows-problems"')[1].split("</ul>")[0]
    assert "Line 5" in problems
    kept = re.split(r"<textarea[^>]*>\n", refused.text)[1].split("</textarea>")[0]
    assert unescape(kept) == wrong
    assert 'value="again"' in refused.text
    assert 'id="upload-problems" data-problems>' in refused.text
    empty = sam.post("/datasets", data={"rows": "", "name": ""})
    assert empty.status_code == 422


def test_the_list_is_searched_narrowed_and_paged(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.datasets.queries.PAGE", 2)
    sam = site.client("sam")
    assert "No datasets yet" in sam.get("/datasets").text
    with transaction() as session:
        for name in ("text", "alpaca", "text_label"):
            add_pasted(session, site.people["sam"], f"try {name}", EXAMPLES[name][1])
    first = sam.get("/datasets").text
    assert first.count('id="dataset-0') == 2
    following = re.findall(r'href="(/datasets\?[^"]*)" rel="next"', first)[0]
    second = sam.get(unescape(following), headers={"HX-Request": "true"}).text
    assert second.count('id="dataset-0') == 1
    assert "<h1" not in second
    assert "try-alpaca" in sam.get("/datasets?search=alp").text
    assert "try-alpaca" not in sam.get("/datasets?format=text").text
    assert "No dataset matches" in sam.get("/datasets?source=shared").text
    assert "No dataset matches" in site.client("tess").get("/datasets?source=own").text
    for wrong in ("page=0", "source=x", "page=x"):
        assert sam.get(f"/datasets?{wrong}").status_code == 422
