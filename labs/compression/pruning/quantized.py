"""Zeros and few bits together: the pruned model with 4-bit integers on top."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from labs.common.loading import DTYPES
from labs.compression.common.layerwise import decoder_layers, matrices_of
from labs.compression.pruning.bench import Bench
from labs.compression.quantization.quantize import quantize_model
from labs.compression.quantization.refusals import refuse_scheme
from labs.compression.quantization.scheme import Scheme
from labs.compression.quantization.sizes import bits_per_weight
from labs.contract import N_, Column, Json
from labs.models import ModelFacts

BITS = 4
GROUPS = (128, 64, 32, None)


@dataclass(frozen=True, slots=True)
class Stacked:
    """One of the four models: as it is, or rounded to integers."""

    name: str
    bits: float
    zeros: float
    perplexity: float


def show_quantized(bench: Bench, pruned: Path) -> Json:
    """Round base and pruned model to 4-bit integers, and measure all four.

    The grid is symmetric: zero is one of its levels, so that what was pruned stays zero.
    """
    facts = bench.facts
    scheme = _scheme(facts)
    if scheme is None:
        return {}
    found = [
        _measured(bench, N_("Base"), bench.run.base_model, None, facts),
        _measured(bench, N_("Pruned"), pruned, None, facts),
        _measured(bench, N_("Base, then 4-bit integers"), bench.run.base_model, scheme, facts),
        _measured(bench, N_("Pruned, then 4-bit integers"), pruned, scheme, facts),
    ]
    columns = [
        Column("model", "Model"),
        Column("bits", "Bits per weight, with scales"),
        Column("zeros", "Weights that are zero", "fraction"),
        Column("perplexity", "Perplexity"),
        Column("tokens", "Measured on", "tokens"),
    ]
    rows = [[each.name, each.bits, each.zeros, each.perplexity, bench.tokens] for each in found]
    bench.run.table("stacked", "Pruned, then quantized", columns, rows)
    return {"quantized_perplexity": found[2].perplexity, "stacked_perplexity": found[3].perplexity}


def _scheme(facts: ModelFacts) -> Scheme | None:
    """Plain rounding with the widest group that fits; None where the family cannot be quantized."""
    schemes = (Scheme("rtn", bits=BITS, group_size=group, symmetric=True) for group in GROUPS)
    return next((each for each in schemes if refuse_scheme(facts, each) is None), None)


def _measured(
    bench: Bench, name: str, folder: Path, scheme: Scheme | None, facts: ModelFacts
) -> Stacked:
    model = bench.load(folder)
    dtype = DTYPES[bench.params.precision]
    bits = 8.0 * dtype.itemsize
    if scheme is not None:
        device, check = bench.run.device, bench.run.check_stop
        # Plain rounding looks at weights only.
        model = quantize_model(model, bench.blocks[:1], scheme, device, dtype, check=check).model
        bits = bits_per_weight(facts, scheme, dtype.itemsize)
    return Stacked(name, bits, zeros_inside(model), bench.perplexity(model))


def zeros_inside(model: PreTrainedModel) -> float:
    """Share of the weights inside the layers that are zero."""
    found = [m for layer in decoder_layers(model) for m in matrices_of(layer).values()]
    zeros = sum(int((matrix.weight == 0).sum()) for matrix in found)
    return zeros / sum(matrix.weight.numel() for matrix in found)
