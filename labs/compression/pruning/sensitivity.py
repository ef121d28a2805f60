"""Which layers can spare weights: each pruned alone, all others whole."""

from collections.abc import Mapping
from pathlib import Path

from labs.compression.common.layerwise import Layer, compress_layerwise
from labs.compression.pruning.bench import Bench
from labs.compression.pruning.prune import Watched, prune_layer
from labs.contract import N_, Axis, Json, Series


def show_sensitivity(bench: Bench, pruned: Path) -> Json:
    """Perplexity with one layer pruned at a time, on inputs of the whole model.

    One pass over the layers does for all: each is pruned, the model measured, and the layer put
    back before the next one is reached.
    """
    model, params, run = bench.load(), bench.params, bench.run
    base = bench.perplexity(model)
    found: list[float] = []

    def measure(layer: Layer, watched: Mapping[str, Watched]) -> None:
        before = {name: matrix.weight.clone() for name, matrix in layer.matrices.items()}
        prune_layer(layer, watched, params, run.device)
        found.append(bench.perplexity(model))
        for name, matrix in layer.matrices.items():
            matrix.put(before[name])

    compress_layerwise(
        model,
        bench.blocks,
        run.device,
        lambda matrix: Watched(matrix, params),
        measure,
        run.check_stop,
    )
    layers = list(range(len(found)))
    run.plot(
        "sensitivity",
        "Perplexity with one layer pruned, all others whole",
        Axis("Layer"),
        Axis("Change of the perplexity"),
        [Series(N_("One layer pruned"), layers, [value - base for value in found])],
        style="bars",
    )
    return {"layer_perplexity": found}
