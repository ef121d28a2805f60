"""The worked numbers of the pruning lab's theory page, computed; both languages have the same."""

from pathlib import Path

import pytest
import torch

from labs import registry
from labs.compression.pruning.method import BLOCK, choose, eliminate, magnitude_scores, wanda_scores

FOLDER = registry.folder(registry.get("pruning"))
SIDE = 4096
WEIGHTS = SIDE * SIDE
pages = pytest.mark.parametrize("page", sorted(FOLDER.glob("theory*.md")), ids=lambda p: p.stem)


@pages
def test_the_row_of_four_loses_what_the_page_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    weight, norms = torch.tensor([[3, -1, 2, 0.5]]), torch.tensor([1.0, 10, 1, 2])
    by_magnitude = choose(magnitude_scores(weight), 0.5)
    by_wanda = choose(wanda_scores(weight, norms), 0.5)
    assert by_magnitude.tolist() == [[False, True, False, True]]
    assert by_wanda.tolist() == [[False, False, True, True]]
    costs = wanda_scores(weight, norms).square()
    told = [int(costs[mask].sum()) for mask in (by_magnitude, by_wanda)]
    assert told == [101, 5]
    assert all(str(cost) in text for cost in told)
    assert "| Wanda | 3 | 10 | **2** | **1** |" in text


def test_a_norm_is_not_a_mean() -> None:
    often, once = torch.full((100,), 0.3), torch.zeros(100).index_fill(0, torch.tensor([5]), 10)
    assert [round(float(x.mean()), 6) for x in (often, once)] == [0.3, 0.1]
    assert [round(float(x.norm()), 5) for x in (often, once)] == [3, 10]
    assert round(float(once.norm() / often.norm()) ** 2) == 11


def test_the_second_weight_makes_up_for_the_first() -> None:
    hessian = torch.tensor([[2.0, 1], [1, 2]])
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    first = torch.tensor([[True], [False]])
    found = eliminate(torch.ones(1, 2), factor, lambda *_: first, BLOCK)
    torch.testing.assert_close(found, torch.tensor([[0, 1.5]]))

    def cost(after: torch.Tensor) -> float:
        change = after - 1
        return float(change @ hessian @ change.t()) / 2

    assert cost(torch.tensor([[0.0, 1]])) == 1
    assert cost(found) == pytest.approx(0.75)
    assert 1 / (2 * float(torch.linalg.inv(hessian)[0, 0])) == pytest.approx(0.75)


@pages
def test_bytes_are_what_the_page_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    kept, mask = WEIGHTS // 2, WEIGHTS // 8
    dense, masked = 2 * WEIGHTS, mask + 2 * kept
    rows = kept * (2 + 4) + 4 * (SIDE + 1)
    two_of_four = 2 * kept + 2 * kept // 8
    assert masked == two_of_four == 0.5625 * dense
    assert round(rows / dense, 2) == 1.5
    # A value and its index take three times a value.
    assert pytest.approx(2) == (1 - 2 / 3) * (2 + 4)
    integers, stacked = WEIGHTS // 2, mask + kept // 2
    assert stacked / integers == 0.75
    for number in (dense, masked, rows, integers, stacked):
        assert f"{number:,}" in text
