"""What a trainer may not say, through the follower to its page, the API and the event stream."""

import json
import re
from typing import Any

import pytest

from app.database import transaction
from app.models import RunState
from app.runs import lifecycle
from app.runs.reasons import reason_of
from app.settings import get_settings
from tests.support.factories import make_run
from tests.support.site import Site, two_classes
from workers.follow import Follower


def deep(levels: int, inner: Any = 1) -> str:
    return "[" * levels + json.dumps(inner) + "]" * levels


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"kind": kind, "attempt": 1, "t": 1.5, **fields})


AXIS = {"title": "x", "unit": "s", "log": True}
LINES = {
    "deep plot": '{"kind": "plot", "attempt": 1, "t": 1.5, "name": "p", "series": ' + deep(1000) + "}",
    "deep endpoint": '{"kind": "endpoint", "attempt": 1, "t": 1, "state": "open", "x": ' + deep(1010) + "}",
    "deep with nul": '{"kind": "plot", "attempt": 1, "t": 1, "name": "\\u0000", "x": ' + deep(1010) + "}",
    "deep metrics": '{"kind": "metrics", "attempt": 1, "t": 1, "step": 1, "values": {"a": ' + deep(1010) + "}}",
    "too deep": '{"kind": "plot", "attempt": 1, "t": 1.5, "name": "p", "series": ' + deep(100_000) + "}",
    "huge numbers": event("plot", name="h", title="h", style="line", x=AXIS, y=AXIS,
                          series=[{"name": "a", "xs": [1e308, 1e-308, 10**18], "ys": [1e308, -1e308, 5e-324]}]),
    "wide numbers": '{"kind":"plot","attempt":1,"t":1,"name":"w","style":"bars","title":"w","x":{},"y":{},"series":[{"xs":[1,2],"ys":[' + "9" * 400 + ',1e999]}]}',
    "texts": event("plot", name="t", title="NaN", style="points", x=AXIS, y=AXIS,
                   series=[{"name": 1, "xs": ["NaN", "Infinity", "1"], "ys": ["1", "2", None], "labels": [[], {}, 3]}]),
    "wrong types": event("plot", name="n", title={"a": 1}, style=["line"], x=3, y=None, series={"a": 1}),
    "no name": event("plot", title="x"),
    "long name": event("plot", name="x" * 65),
    "many": event("plot", name="many", title="m" * 5000, style="line", x=AXIS, y=AXIS,
                  series=[{"name": "s", "xs": list(range(1, 3000)), "ys": list(range(1, 3000))}] * 30),
    "markup": event("plot", name="</script>", title="<img src=x onerror=1>{0}%(x)s", style="line", x={"title": "{x}"}, y={"title": "%s"},
                    series=[{"name": "<b>{a}", "xs": [1, 2], "ys": [1, 2], "labels": ["<i>", "{b}"]}]),
    "endpoint text": event("endpoint", state="open", engine={"a": [1]}, model=["x" * 9000], closes_in_seconds="NaN"),
    "endpoint huge": event("endpoint", state="open", engine="x" * 9000, model="<b>", closes_in_seconds=1e308, secret="top", address="http://127.0.0.1:1"),
    "endpoint list": event("endpoint", state=["open"], engine=1),
    "endpoint none": event("endpoint", state=None),
    "endpoint negative": event("endpoint", state="open", closes_in_seconds=-5),
    "endpoint bool": event("endpoint", state="open", closes_in_seconds=True, model=None, engine=None),
    "endpoint other name": event("endpoint", state="open", attempt=1, at="yesterday"),
    "lone": '{"kind": "plot", "attempt": 1, "t": 1.5, "name": "\\ud800"}',
    "lone title": '{"kind": "plot", "attempt": 1, "t": 1.5, "name": "l", "title": "\\ud800"}',
    "table deep": '{"kind": "table", "attempt": 1, "t": 1.5, "name": "d", "columns": [{"key": "a"}], "rows": [[' + deep(900) + "]]}",
    "unknown kind": event("state", state="succeeded"),
    "end": event("endpoint", state="closed"),
    "big": event("plot", name="big", title="b" * 3_000_000, style="line", x=AXIS, y=AXIS, series=[]),
    "environment": event("environment", torch={"a": deep(3)}, **{"x" * 200: "y"}),
    "resumed?": event("resumed", step=True),
    "progress": event("progress", stage="report", done=1e308, total=1e-308, note="n" * 999),
    "stage": event("stage", stage="report", status="started", seconds="NaN"),
}  # fmt: skip


@pytest.fixture
def site(database_url: str) -> Site:
    return two_classes()


def test_nothing_that_a_trainer_says_breaks_a_page(site: Site) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"], lab="serve")
        number = lifecycle.assign(session, run.id, "cpu", reason_of("Placed."))
        lifecycle.claim(session, run.id, number, "cpu")
    folder = get_settings().run_dir(run.id)
    folder.mkdir(parents=True)
    follower = Follower(run.id, 1, folder, 0)
    page, script = site.client("sam"), site.script("sam")
    for name, line in LINES.items():
        with (folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")
        with transaction() as session:
            batch = follower.read()
            follower.take(session, batch)
        follower.committed(batch)
        if "endpoint" in name:
            assert page.get(f"/runs/{run.id}/endpoint").status_code == 200, name
            assert script.get(f"/api/v1/runs/{run.id}/endpoint").status_code == 200, name
    shown = page.get(f"/runs/{run.id}")
    assert shown.status_code == 200
    assert not re.search("<img src=x|<b>{a}|<i>", shown.text)
    assert script.get(f"/api/v1/runs/{run.id}").status_code == 200
    with transaction() as session:
        lifecycle.finish(session, run.id, 1, RunState.SUCCEEDED)
    told = script.get(f"/api/v1/runs/{run.id}/events").text
    assert "event: plot" in told
    assert "event: end" in told
