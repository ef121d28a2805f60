"""Datasets through the browser's form."""

import json
import os

import pytest
from httpx2 import Response

from app.database import transaction
from app.datasets.upload import dataset_name
from app.models import Dataset
from app.settings import get_settings
from app.storage.tidy import tidy
from tests.support.factories import make_run
from tests.support.site import Site

ROWS = "".join(json.dumps({"text": f"row {n}", "label": f"l{n % 3}"}) + "\n" for n in range(12))


def send(site: Site, who: str, content: str | bytes, name: str = "rows.jsonl") -> Response:
    return site.client(who).post("/datasets", files={"file": (name, content)})


def stored() -> list[str]:
    folder = get_settings().datasets_dir
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_good_file_becomes_a_dataset_with_its_page(site: Site) -> None:
    made = send(site, "sam", ROWS)
    assert made.status_code == 303
    page = site.client("sam").get(made.headers["location"]).text
    assert "Text and label" in page
    assert "row 0" in page
    assert site.client("tess").get(made.headers["location"]).status_code == 404
    assert len(stored()) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (ROWS + '{"label": "no text"}\n', "Line 13: The column “text” is missing."),
        (ROWS + "{broken\n", "Line 13: "),
        (b"\xff\xfe" + "{}".encode("utf-16-le"), "The file is UTF-16. Save it as UTF-8."),
        (b"", "The file is empty."),
        (b"PK\x03\x04 a zip", "The file is packed (ZIP)."),
    ],
)
def test_a_bad_file_is_refused_beside_its_field(
    site: Site, content: str | bytes, sentence: str
) -> None:
    answer = send(site, "sam", content)
    assert answer.status_code == 422
    problems = answer.text.split('id="upload-problems"')[1].split("</ul>")[0]
    assert sentence in problems
    assert stored() == []


def test_a_form_without_a_file_says_so(site: Site) -> None:
    client = site.client("sam")
    assert "Choose a file." in client.post("/datasets").text
    empty = client.post("/datasets", files={"file": ("", b"")})
    assert (empty.status_code, "Choose a file." in empty.text) == (422, True)


def test_rows_are_shown_as_text_only(site: Site) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1) hx-get=/logout>"
    rows = "".join(json.dumps({"text": f"{attack}{n}"}) + "\n" for n in range(5))
    made = send(site, "sam", rows, f"{attack}.jsonl")
    page = site.client("sam").get(made.headers["location"]).text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_only_the_owner_deletes_and_only_what_no_run_uses(site: Site) -> None:
    made = send(site, "sam", ROWS)
    url = made.headers["location"]
    assert site.client("ada").post(f"{url}/deletion").status_code == 403
    with transaction() as session:
        dataset = session.query(Dataset).one()
        run = make_run(session, site.people["sam"], dataset_id=dataset.id)
    sam = site.client("sam")
    assert sam.post(f"{url}/deletion").status_code == 409
    with transaction() as session:
        session.delete(session.merge(run))
    assert sam.post(f"{url}/deletion").status_code == 303
    os.utime(next(get_settings().datasets_dir.rglob("*.jsonl")), (0, 0))
    assert tidy() == 1
    assert stored() == []


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("a.jsonl", "a"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\my rows.json", "my-rows"),
        ("Rows.CSV", "Rows"),
        ("<b>.jsonl", "b"),
        ("資料.jsonl", "資料"),
        (".jsonl", "dataset"),
        ("x" * 300, "x" * 120),
    ],
)
def test_names_come_from_file_names_without_their_folders(filename: str, name: str) -> None:
    assert dataset_name(filename) == name
