"""Each lab on each family of models: it works, or it is refused with a reason before it starts."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel

from labs.common.agreement import largest_difference, logits
from labs.common.batches import collate
from labs.common.formatting import Encoded
from labs.common.loading import count_parameters
from labs.common.state import TrainingState
from labs.common.training import update
from labs.models import read_facts
from tests.labs.families import FAMILIES, make_family
from tests.labs.tuning_cases import Case, context, first_cases, tuning

PROMPTS = [(1, 40, 50, 60, 70)]
ROWS = [Encoded((1, 30 + i, 40 + i, 50 + i, 2), 2) for i in range(8)]
FUSED = "keeps no matrix of its own for keys"
# What is refused, by lab, parameters and family, and what the reason says.
REFUSED = {
    ("ia3", "gpt2"): FUSED,
    ("ia3", "gpt_neox"): FUSED,
    ("ia3", "bloom"): FUSED,
    ("bitfit", "llama"): "has no bias vectors",
    ("bitfit-feed_forward", "llama"): "has no bias vectors",
    ("bitfit-feed_forward", "qwen2"): "has no bias vectors in feed_forward",
    ("adapter", "bloom"): "adds its residual inside",
}
CASES = [
    *(Case(case.slug) for case in first_cases()),
    Case("ia3", {"rescaled": "feed_forward"}),
    Case("bitfit", {"biases": "feed_forward"}),
    Case("lora", {"variant": "dora"}, start=1e-5),
]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(request.param, tmp_path_factory.mktemp("families") / request.param)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_works_or_says_why_not(
    family: Path, tiny_dataset: Path, tmp_path: Path, case: Case
) -> None:
    run = context(case, tmp_path / "run", family, tiny_dataset)
    made = tuning(case, run, learning_rate=0.05)
    facts = read_facts(family)
    refused = case.lab.accepts.refuse(facts, made.params)
    expected = REFUSED.get((str(case), family.name))
    assert (expected is None) == (refused is None), refused
    if expected is not None:
        assert expected in str(refused)
        assert "Choose" in str(refused)
        return

    torch.manual_seed(0)
    base = logits(made.load_base(run), PROMPTS, "cpu")
    model = made.attach(made.load_base(run))
    assert count_parameters(model)[1] == made.params.trainable_parameters(facts)
    if made.starts_as_base:
        assert largest_difference(base, logits(model, PROMPTS, "cpu")) <= case.start
    made.show_attached(model, run)
    state = TrainingState(model, made.params, "cpu", made.decays)
    for _ in range(2):
        update(state, [collate(ROWS, 0, "cpu")], made.params, 0.05)
    made.show_trained(model, run)
    made.save(model, tmp_path, family.name)
    said = logits(model, PROMPTS, "cpu")
    assert largest_difference(base, said) > 1e-3
    again = made.load_tuned(run, tmp_path)
    assert largest_difference(said, logits(again, PROMPTS, "cpu")) < 1e-5
    if isinstance(again, PeftModel) and case.slug in ("lora", "ia3"):
        merged = again.merge_and_unload()
        assert largest_difference(said, logits(merged, PROMPTS, "cpu")) < 1e-4
