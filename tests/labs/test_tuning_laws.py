"""What must hold of every tuning lab, whatever it is trained on; see tuning_cases for the labs."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from labs import registry
from labs.common.agreement import agree, largest_difference, logits
from labs.common.batches import collate
from labs.common.evaluation import mean_loss
from labs.common.formatting import Encoded
from labs.common.loading import count_parameters, load_model
from labs.common.params import TrainingParams
from labs.common.peft_tuning import merged_into_base
from labs.common.state import TrainingState
from labs.common.training import fit, update
from labs.common.tuning import Tuning
from labs.contract import LabContext, Stopped
from labs.models import read_facts
from tests.labs.runs import losses
from tests.labs.tuning_cases import CASES, Case, context, read_by_peft, tuning

PROMPTS = [(1, 40, 50, 60, 70), (1, 99, 98, 97, 96, 95, 94)]
ROWS = [Encoded((1, 30 + i, 40 + i, 50 + i, 2), 2) for i in range(8)]
RATE = 0.05

every_case = pytest.mark.parametrize("case", CASES, ids=str)


class Bench:
    """One case on the tiny model: its tuning, and fresh models with it attached."""

    def __init__(self, case: Case, run: LabContext, **params: Any) -> None:
        self.case, self.run = case, run
        self.tuning: Tuning[Any, Any] = tuning(case, run, learning_rate=RATE, **params)

    def base(self) -> nn.Module:
        return self.tuning.load_base(self.run)

    def fresh(self) -> Any:
        torch.manual_seed(0)
        return self.tuning.attach(self.tuning.load_base(self.run))

    def says(self, model: nn.Module) -> list[Tensor]:
        return logits(model, PROMPTS, "cpu")

    def trained(self, model: Any, steps: int = 3) -> Any:
        params: TrainingParams = self.tuning.params
        state = TrainingState(model, params, "cpu", self.tuning.decays)
        batch = collate(ROWS, 0, "cpu")
        for _ in range(steps):
            update(state, [batch], params, RATE)
        return model


@pytest.fixture
def bench(tiny_model: Path, tiny_dataset: Path, tmp_path: Path) -> Callable[..., Bench]:
    def make(case: Case, **params: Any) -> Bench:
        return Bench(case, context(case, tmp_path / "run", tiny_model, tiny_dataset), **params)

    return make


def parts(model: nn.Module, trained: bool) -> Iterator[tuple[str, nn.Parameter]]:
    return ((n, p) for n, p in model.named_parameters() if p.requires_grad is trained)


def test_every_tuning_lab_has_a_case() -> None:
    folders = (path.parent for path in (registry.ROOT / "peft").glob("*/tuning.py"))
    assert {folder.name for folder in folders} == {case.slug for case in CASES}


@every_case
def test_at_the_start_it_says_what_the_base_says(bench: Callable[..., Bench], case: Case) -> None:
    made = bench(case)
    base, model = made.says(made.base()), made.fresh()
    if made.tuning.starts_as_base:
        assert largest_difference(base, made.says(model)) <= case.start
    else:
        assert largest_difference(base, made.says(model)) > 0
    with made.tuning.untouched(model):
        assert largest_difference(base, made.says(model)) <= case.start


@every_case
def test_the_frozen_never_move_and_all_else_does(bench: Callable[..., Bench], case: Case) -> None:
    made = bench(case, weight_decay=0.1)
    model = made.fresh()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    made.trained(model)
    assert all(torch.equal(before[name], p) for name, p in parts(model, trained=False))
    assert not any(torch.equal(before[name], p) for name, p in parts(model, trained=True))


@every_case
def test_what_is_trained_follows_the_formula(
    bench: Callable[..., Bench], tiny_model: Path, case: Case
) -> None:
    made = bench(case)
    model = made.fresh()
    _, counted = count_parameters(model)
    assert counted == made.tuning.params.trainable_parameters(read_facts(tiny_model))
    if isinstance(model, PeftModel):
        assert counted == model.get_nb_trainable_parameters()[0]


@every_case
def test_gradients_reach_all_that_is_trained_and_nothing_else(
    bench: Callable[..., Bench], case: Case
) -> None:
    made = bench(case)
    model = made.trained(made.fresh(), case.gradient_from_step)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(found) == {name for name, _ in parts(model, trained=True)}
    assert all(float(gradient.abs().max()) > 0 for gradient in found.values())


@every_case
def test_weight_decay_pulls_only_what_the_method_names(
    bench: Callable[..., Bench], case: Case
) -> None:
    free, pulled = bench(case), bench(case, weight_decay=1.0)
    without = dict(free.trained(free.fresh(), steps=1).named_parameters())
    for name, parameter in parts(pulled.trained(pulled.fresh(), steps=1), trained=True):
        decays = pulled.tuning.decays(name, parameter)
        # B and W_up start at zero, where decay has nothing to pull.
        assert torch.equal(parameter, without[name]) or decays, name


@every_case
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_saved_predicts_the_same(
    bench: Callable[..., Bench], tmp_path: Path, tiny_model: Path, case: Case, precision: str
) -> None:
    """In 16 bits too, where what is trained stays in float32 and meets 16-bit weights."""
    made = bench(case, precision=precision)
    model = made.trained(made.fresh())
    assert {p.dtype for _, p in parts(model, trained=True)} == {torch.float32}
    said, base = made.says(model), made.says(made.base())
    made.tuning.save(model, tmp_path, "tiny")
    again = made.says(made.tuning.load_tuned(made.run, tmp_path))
    moved = largest_difference(said, base)
    assert moved > 1e-2
    if precision == "fp32":
        assert largest_difference(said, again) <= case.kept
    else:
        found = agree(said, again, torch.bfloat16)
        assert found.difference <= found.tolerance
    for written in tmp_path.glob("*.json"):
        assert str(tiny_model) not in written.read_text()


@pytest.mark.parametrize("case", [case for case in CASES if case.merges], ids=str)
def test_merging_keeps_every_logit(bench: Callable[..., Bench], case: Case) -> None:
    made = bench(case)
    model = made.trained(made.fresh())
    unmerged = made.says(model)
    assert largest_difference(unmerged, made.says(merged_into_base(model))) < 1e-5


@pytest.mark.parametrize("case", [case for case in CASES if read_by_peft(case)], ids=str)
def test_plain_peft_reads_it_back(
    bench: Callable[..., Bench], tmp_path: Path, tiny_model: Path, case: Case
) -> None:
    made = bench(case)
    model = made.trained(made.fresh())
    made.tuning.save(model, tmp_path, "tiny")
    plain = PeftModel.from_pretrained(load_model(tiny_model, "cpu"), tmp_path)
    assert largest_difference(made.says(model), made.says(plain)) == 0.0


@every_case
def test_a_stopped_training_goes_on_with_the_same_losses(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path, case: Case
) -> None:
    def train_in(folder: str, stopping: Callable[[], bool], seed: int) -> nn.Module:
        run = context(case, tmp_path / folder, tiny_model, tiny_dataset, stopping)
        made = Bench(case, run, steps=4, evaluation_interval=2, batch_size=4, weight_decay=0.1)
        torch.manual_seed(seed)
        model: nn.Module = made.tuning.attach(made.tuning.load_base(run))

        def measure() -> dict[str, float]:
            return {"eval/loss": mean_loss(model, ROWS, 0, "cpu")}

        fit(model, ROWS, 0, made.tuning.params, run, measure, decays=made.tuning.decays)
        return model

    asked = count()
    whole = train_in("whole", lambda: False, 0)
    with pytest.raises(Stopped):
        train_in("parts", lambda: next(asked) >= 3, 0)
    resumed = train_in("parts", lambda: False, 9)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    pairs = zip(parts(resumed, trained=True), parts(whole, trained=True), strict=True)
    assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in pairs)
