"""One real run of each tuning lab, all stages: how it ends, what it shows, what it leaves."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labs import trainer
from labs.common import latency
from labs.common.agreement import largest_difference, logits
from labs.events import read_events
from labs.runspec import write_params
from labs.trainer import Outcome, StopFlag
from tests.labs.runs import STAGES, events_of, make_spec
from tests.labs.tuning_cases import Case, context, first_cases, tuning

PROMPTS = [(1, 40, 50, 60, 70), (1, 99, 98, 97, 96, 95, 94)]
TABLES = {"data", "trainable_share", "memory", "quality", "latency", "sizes"}
# What a lab's page shows of its own: tables, then heat maps.
SHOWN: dict[str, tuple[set[str], set[str]]] = {
    "adapter": ({"adapter_norms", "switch", "overhead"}, set()),
    "bitfit": ({"merge"}, {"bias_change"}),
    "full": ({"merge", "reloaded"}, set()),
    "ia3": ({"merge"}, {"factors"}),
    "lora": ({"merge"}, {"singular_values"}),
    "p_tuning": ({"distance", "folded", "merge"}, set()),
    "p_tuning_v2": ({"switch", "overhead"}, set()),
    "prefix_tuning": ({"folded", "merge", "switch", "overhead"}, set()),
    "prompt_tuning": ({"nearest_words", "switch", "overhead"}, set()),
}


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has been through all its stages."""

    case: Case
    folder: Path
    model: Path
    dataset: Path
    outcome: Outcome

    def names(self, kind: str) -> set[str]:
        return {event["name"] for event in events_of(self.folder, kind)}


@pytest.fixture(scope="module", params=first_cases(), ids=str)
def run(
    request: pytest.FixtureRequest,
    tiny_model: Path,
    tiny_dataset: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Finished]:
    case: Case = request.param
    folder = tmp_path_factory.mktemp("runs") / case.slug
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "GENERATIONS", 3)
        write_params(folder, make_spec(tiny_model, tiny_dataset, case.changes, lab=case.slug))
        outcome = trainer.run_attempt(folder, StopFlag())
        yield Finished(case, folder, tiny_model, tiny_dataset, outcome)


def test_it_goes_through_all_stages(run: Finished) -> None:
    assert run.outcome == Outcome("succeeded"), run.outcome.traceback
    completed = [e["stage"] for e in events_of(run.folder, "stage") if e["status"] == "completed"]
    assert completed == list(STAGES)
    assert list(read_events(run.folder))[-1]["kind"] == "end"
    first = next(e for e in events_of(run.folder, "metrics") if "eval/loss" in e["values"])
    assert first["step"] == 0


def test_it_shows_all_that_its_page_promises(run: Finished) -> None:
    logged = {key for event in events_of(run.folder, "metrics") for key in event["values"]}
    assert logged == {metric.key for metric in run.case.lab.metrics}
    assert run.names("samples") == {"masks", "side_by_side"}
    tables, heatmaps = SHOWN[run.case.slug]
    assert run.names("table") == TABLES | tables
    assert run.names("heatmap") == heatmaps


def test_it_leaves_what_it_promises_with_a_card(run: Finished) -> None:
    assert run.names("artifact") == set(run.case.lab.produces)
    for name in loadable(run):
        card = (run.folder / "artifacts" / name / "README.md").read_text()
        assert 'base_model: "tiny"' in card
        assert str(run.model.parent) not in card


def test_the_lines_of_its_card_load_what_was_trained(
    run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as they stand, in the artifact's folder, with the base beside under its own name."""
    again = context(run.case, tmp_path / "again", run.model, run.dataset)
    made = tuning(run.case, again)
    kept = made.load_tuned(again, run.folder / "artifacts" / made.kept)
    expected = logits(kept, PROMPTS, "cpu")
    shown = {name: lines for name in loadable(run) if (lines := loading(run, name))}
    assert shown
    for name, lines in shown.items():
        here = Path(shutil.copytree(run.folder / "artifacts" / name, tmp_path / name))
        (here / "tiny").symlink_to(run.model)
        monkeypatch.chdir(here)
        world: dict[str, Any] = {}
        exec(lines, world)
        assert largest_difference(expected, logits(world["model"], PROMPTS, "cpu")) < 1e-4, name


def loadable(run: Finished) -> set[str]:
    """All artifacts but the guide, which holds no weights."""
    return set(run.case.lab.produces) - {"guide"}


def loading(run: Finished, artifact: str) -> str:
    """The Python of a model card, or nothing."""
    card = (run.folder / "artifacts" / artifact / "README.md").read_text()
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    return found[1] if found else ""
