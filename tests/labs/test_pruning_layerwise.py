"""Layer by layer: what matrices are observed with, and that nothing but matrices changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.common.artifacts import save_model
from labs.common.loading import load_model
from labs.compression.common.layerwise import (
    Layer,
    Matrix,
    compress_layerwise,
    decoder_layers,
    matrices_of,
)
from labs.compression.common.observers import Hessian, Norms
from labs.compression.pruning.costs import SAMPLED_TOKENS
from labs.compression.pruning.method import BLOCK, choose, wanda_scores, zeros_of
from labs.compression.pruning.prune import Watched, prune_model
from labs.compression.pruning.spec import PruningParams
from labs.models import read_facts
from tests.labs.families import FAMILIES, make_family
from tests.labs.tiny import make_network, make_tokenizer

BLOCKS = torch.randint(3, 250, (4, 12), generator=torch.Generator().manual_seed(0))
METHODS = ("magnitude", "wanda", "sparsegpt")


def inputs_of(model: PreTrainedModel, blocks: Tensor) -> dict[str, Tensor]:
    """What every matrix inside the layers is given in a plain forward pass: [tokens, in]."""
    found: dict[str, list[Tensor]] = {}
    hooks = [
        matrix.module.register_forward_pre_hook(
            lambda module, args, key=f"{i}.{name}": found.setdefault(key, []).append(
                args[0].flatten(0, -2)
            )
        )
        for i, layer in enumerate(decoder_layers(model))
        for name, matrix in matrices_of(layer).items()
    ]
    with torch.no_grad():
        for block in blocks:
            model(input_ids=block.unsqueeze(0))
    for hook in hooks:
        hook.remove()
    return {key: torch.cat(parts) for key, parts in found.items()}


def weights(model: PreTrainedModel) -> dict[str, Tensor]:
    return {
        f"{i}.{name}": matrix.weight.clone()
        for i, layer in enumerate(decoder_layers(model))
        for name, matrix in matrices_of(layer).items()
    }


@given(st.integers(0, 1000), st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=25)
def test_observers_give_what_a_direct_product_gives_however_tokens_come(
    seed: int, pieces: list[int]
) -> None:
    matrix = Matrix("", nn.Linear(6, 3, bias=False))
    rows = torch.randn(sum(pieces), 6, generator=torch.Generator().manual_seed(seed))
    norms, hessian = Norms(matrix), Hessian(matrix)
    for piece in torch.split(rows, pieces):
        norms.add(piece)
        hessian.add(piece)
    assert norms.tokens == hessian.tokens == len(rows)
    torch.testing.assert_close(norms.norms, torch.linalg.vector_norm(rows, dim=0))
    torch.testing.assert_close(hessian.value, 2 * rows.t() @ rows / len(rows), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(hessian.value.diagonal(), 2 * norms.norms**2 / len(rows))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_sees_what_a_forward_pass_gives_it(family: str) -> None:
    """Where nothing is changed, layer by layer is the model itself; Conv1D keeps its way round."""
    torch.manual_seed(0)
    model = FAMILIES[family]()
    expected = inputs_of(model, BLOCKS)
    seen: dict[str, Tensor] = {}
    sizes: dict[str, tuple[int, ...]] = {}

    def keep(layer: Layer, watched: Mapping[str, Hessian]) -> None:
        for name, observer in watched.items():
            seen[f"{layer.index}.{name}"] = observer.value
            sizes[f"{layer.index}.{name}"] = tuple(layer.matrices[name].weight.shape)

    compress_layerwise(model, BLOCKS, "cpu", Hessian, keep)
    assert seen.keys() == expected.keys()
    for name, rows in expected.items():
        assert sizes[name][1] == rows.shape[1]
        torch.testing.assert_close(
            seen[name], 2 * rows.t() @ rows / len(rows), rtol=1e-3, atol=1e-5, msg=name
        )


def test_later_layers_see_what_pruned_layers_give_them() -> None:
    """Equal to pruning one layer, running the whole model again, and pruning the next."""
    model, naive = make_network(), make_network()
    params = PruningParams(method="wanda", sparsity=0.5)
    dense = inputs_of(naive, BLOCKS)
    prune_model(model, BLOCKS, params, "cpu")
    for index, layer in enumerate(decoder_layers(naive)):
        now = inputs_of(naive, BLOCKS)
        for name, matrix in matrices_of(layer).items():
            norms = torch.linalg.vector_norm(now[f"{index}.{name}"], dim=0)
            matrix.put(
                matrix.weight.masked_fill(choose(wanda_scores(matrix.weight, norms), 0.5), 0)
            )
    found, expected = weights(model), weights(naive)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    first, second = inputs_of(model, BLOCKS), "1.self_attn.q_proj"
    assert not torch.allclose(first[second], dense[second], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_only_matrices_inside_layers_change_and_each_gets_its_zeros(
    family: str, method: str
) -> None:
    torch.manual_seed(0)
    model = FAMILIES[family]()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    params = PruningParams.model_validate(
        {"method": method, "sparsity": 0.3, "magnitude_within": "row", "damping": 0.1}
    )
    pruned: set[int] = set()

    def told(layer: Layer, reports: Any) -> None:
        for report in reports:
            matrix = layer.matrices[report.name]
            pruned.add(id(matrix.module.weight))
            zeros = matrix.weight == 0
            assert int(zeros.sum()) == report.zeros
            k = zeros_of(report.inputs, 0.3)
            if method == "sparsegpt":
                blocks = [
                    report.outputs * len(b) for b in torch.split(torch.arange(report.inputs), BLOCK)
                ]
                assert int(zeros.sum()) == sum(zeros_of(block, 0.3) for block in blocks)
            else:
                assert zeros.sum(1).tolist() == [k] * report.outputs
            assert 0 < report.error < 1

    prune_model(model, BLOCKS, params, "cpu", told)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) is (id(parameter) not in pruned), name
    assert len(pruned) == sum(len(matrices_of(layer)) for layer in decoder_layers(model))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
def test_what_is_saved_has_the_same_zeros_and_weights(
    family: str, pattern: str, tmp_path: Path
) -> None:
    base = make_family(family, tmp_path / "base")
    model = load_model(base, "cpu")
    params = PruningParams.model_validate({"pattern": pattern})
    prune_model(model, BLOCKS, params, "cpu")
    expected = weights(model)
    (tmp_path / "pruned").mkdir()
    save_model(model, torch.float32, make_tokenizer(), base, tmp_path / "pruned")
    found = weights(load_model(tmp_path / "pruned", "cpu"))
    group = int(pattern[-1])
    for name, weight in found.items():
        assert torch.equal(weight, expected[name])
        assert bool(((weight == 0).reshape(-1, group).sum(1) == group // 2).all()), name


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_count_the_matrices_that_are_pruned(family: str, tmp_path: Path) -> None:
    facts = read_facts(make_family(family, tmp_path / "model"))
    found = weights(load_model(tmp_path / "model", "cpu"))
    assert sum(m.count for m in facts.matrices.values()) == len(found)
    inside = sum(m.count * m.outputs * m.inputs for m in facts.matrices.values())
    assert inside == sum(weight.numel() for weight in found.values())


def test_pads_among_the_calibration_tokens_change_the_mask() -> None:
    """A trap: norms of a token that stands for nothing. Blocks here are packed and have none."""
    end = torch.full_like(BLOCKS[:, 4:], make_tokenizer().eos_token_id)
    padded = torch.cat([BLOCKS[:, :4], end], dim=1)
    packed = BLOCKS[:, :4].reshape(-1, 8)
    masks = []
    for blocks in (padded, packed):
        model = make_network()
        prune_model(model, blocks, PruningParams(), "cpu")
        masks.append(weights(model)["0.self_attn.q_proj"] == 0)
    assert not torch.equal(*masks)


def test_a_watched_matrix_keeps_only_the_first_tokens() -> None:
    watched = Watched(Matrix("", nn.Linear(4, 2)), PruningParams(method="magnitude"))
    for start in range(0, 3 * SAMPLED_TOKENS, 700):
        watched.add(torch.full((700, 4), float(start)))
    assert watched.sample.shape == (SAMPLED_TOKENS, 4)
    assert watched.sample[-1, 0] == 700
    assert watched.norms is None
    assert watched.hessian is None
