"""What nobody sends by accident: every answer is a page that says what is wrong, never a fault."""

import re

import pytest

from app.database import transaction
from app.datasets.examples import EXAMPLES
from app.datasets.upload import add_pasted
from tests.support.site import Site, two_classes

GOOD = EXAMPLES["alpaca"][1]
SHOWN = (200, 303, 404, 409, 422)


@pytest.fixture
def site(database_url: str) -> Site:
    return two_classes()


def test_no_form_and_no_address_of_datasets_is_a_fault(site: Site) -> None:
    sam = site.client("sam")
    forms: list[dict[str, str]] = [
        {"rows": "a\0b"},
        {"rows": GOOD, "name": "a\0b\ud7ff<script>"},
        {"rows": GOOD + '{"instruction": "\\u0000", "output": "x"}'},
        {"rows": GOOD.replace("Tokyo", "\\ud800")},
        {"rows": "\\", "name": "x" * 5000},
        {"rows": "[1,2"},
    ]
    for form in forms:
        assert sam.post("/datasets", data=form).status_code in SHOWN, form
    for form in (
        {"name": "a\0", "size": "9" * 30},
        {"name": "\0", "size": "5", "modified": "\0"},
        {"name": "x", "size": "1e5"},
    ):
        assert sam.post("/datasets/uploads", data=form).status_code in SHOWN, form
    upload = {"name": "x", "size": "5"}
    key = sam.post("/datasets/uploads", data=upload).json()["key"]
    for query in ("offset=-1", f"offset={'9' * 30}", "offset=x", ""):
        answer = sam.put(f"/datasets/uploads/{key}?{query}", content=b"x")
        assert answer.status_code in SHOWN, query
    long_name = {"name": "a\0" * 600}
    assert sam.post(f"/datasets/uploads/{key}/completion", data=long_name).status_code == 422
    for query in ("search=%F0%9F", f"search={'x' * 300}", "search=%25_%5C", "page=99999",
                  "page=100001", "format=x", "example=%3Cscript%3E", "search=a'%22--"):  # fmt: skip
        assert sam.get(f"/datasets?{query}").status_code in SHOWN, query


def test_every_corner_of_a_datasets_address_is_answered(site: Site) -> None:
    with transaction() as session:
        for name in ("alpaca", "preference", "text"):
            add_pasted(session, site.people["sam"], name, EXAMPLES[name][1])
    sam = site.client("sam")
    addresses = re.findall(r'href="(/datasets/[0-9a-f-]{36})"', sam.get("/datasets").text)
    assert len(addresses) == 3
    for query in ("", "?page=999999999", "?split=test&page=3", f"?line={'9' * 30}", "?line=2",
                  "?line=2&file=../../x", "?model=", "/file", "/file?split=test"):  # fmt: skip
        for address in addresses:
            assert sam.get(f"{address}{query}").status_code in SHOWN, query
