"""The list of what is proven where is true: its tests are there, its rows are in the matrix."""

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.promises import PROMISES, Proof, missing

NUMBERS = [*(f"P{number}" for number in range(1, 13)), *(f"F{number}" for number in range(1, 46))]


def test_every_promise_and_fault_is_spoken_of() -> None:
    assert [proof.number for proof in PROMISES] == NUMBERS


@pytest.mark.parametrize("proof", PROMISES, ids=lambda proof: proof.number)
def test_what_is_said_to_prove_it_is_there(proof: Proof) -> None:
    assert missing(proof) == []
    assert proof.tests or proof.open
    named = {test.partition("[")[2].rstrip("]") for test in proof.tests} - {""}
    assert named <= {fault.name for fault in FAULTS}
