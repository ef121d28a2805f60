"""A person brings real rows of their own and learns from them, all through the browser."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.docstrings import write_rows
from tests.support.server import Server

LONG_ENOUGH_MS = 240_000


@pytest.mark.browser
def test_rows_from_docstrings_are_learned(server: Server, page: Page, tmp_path: Path) -> None:
    rows = tmp_path / "docstrings.jsonl"
    assert write_rows(rows) > 2000
    page.goto(server.new_link("student1"))
    page.goto(f"{server.base_url}/labs/lora/runs/new")
    page.get_by_label("Steps", exact=True).fill("60")
    page.get_by_label("Batch size", exact=True).fill("8")
    page.set_input_files("input[type=file]", rows)
    page.get_by_role("button", name="Start the run").click()

    expect(page.locator("[data-state=succeeded]").first).to_be_visible(timeout=LONG_ENOUGH_MS)

    losses = _series(server, page.url.rpartition("/")[2])["eval/perplexity"]
    assert losses["steps"][0] == 0
    baseline, learned = losses["values"][0], min(losses["values"])
    assert learned < 0.7 * baseline


def _series(server: Server, run_id: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.base_url}/api/v1/runs/{run_id}/metrics",
        headers={"Authorization": f"Bearer {server.new_token('student1')}"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        series: dict[str, Any] = json.load(reply)["series"]
    return series
