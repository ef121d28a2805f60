"""What stages show: tables whose figures say their unit once, pictures whose rows have names."""

from typing import Any

from app.html import environment
from app.models import RunEvent
from app.runs.measure import measured
from app.runs.shown import shown


def card(kind: str, **payload: Any) -> str:
    """One card of a run page, as it stands in the page."""
    found = shown([RunEvent(kind=kind, payload={"name": "x", "title": "Shown", **payload})])
    macro = {"table": "table_card", "heatmap": "heatmap_card"}[kind]
    (one,) = found.tables or found.heatmaps
    source = f'{{% from "macros/shown.html" import {macro} %}}{{{{ {macro}(one) }}}}'
    return environment().from_string(source).render(one=one)


def test_a_unit_stands_with_its_figures_or_else_at_their_head() -> None:
    columns = [
        {"key": "model", "title": "Model", "unit": ""},
        {"key": "mean", "title": "Mean", "unit": "s"},
        {"key": "loss", "title": "Loss", "unit": "nats per target token"},
    ]
    html = card("table", columns=columns, rows=[["Base", 0.25, 1.5]])
    assert measured(0.25, "s") in html
    assert "(s)" not in html
    assert html.count("nats per target token") == 1


def test_a_picture_names_its_rows_and_columns() -> None:
    html = card("heatmap", x=["q", "k"], y=["0", "1", "2"], values=[[1, 2], [3, 4], [5, None]])
    assert all(f"<li>{name}</li>" in html for name in ("q", "k", "0", "1", "2"))


def test_of_many_columns_the_ends_are_named() -> None:
    names = [f"σ{i}" for i in range(1, 33)]
    html = card("heatmap", x=names, y=["0.q_proj"], values=[list(range(32))])
    assert "<li>σ1</li><li>σ32</li>" in html
    assert "<li>σ2</li>" not in html
