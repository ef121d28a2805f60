"""What must hold of full fine-tuning alone; what holds of every tuning is in test_tuning_laws."""

from pathlib import Path

import pytest

from labs.runspec import write_params
from labs.trainer import Outcome, StopFlag, run_attempt
from tests.labs.runs import make_spec


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_model_trained_in_sixteen_bits_says_the_same_in_thirty_two(
    tiny_model: Path, tiny_dataset: Path, tmp_path: Path, precision: str
) -> None:
    stages = ["train", "deploy"]
    given = {"precision": precision, "steps": 2}
    write_params(tmp_path, make_spec(tiny_model, tiny_dataset, given, stages, lab="full"))
    assert run_attempt(tmp_path, StopFlag()) == Outcome("succeeded")
