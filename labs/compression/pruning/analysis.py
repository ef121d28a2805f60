"""The last stage: other sparsities, each layer alone, quantized on top, and what zeros buy."""

from labs.common.artifacts import require_artifact
from labs.compression.pruning.bench import Bench
from labs.compression.pruning.quantized import show_quantized
from labs.compression.pruning.sensitivity import show_sensitivity
from labs.compression.pruning.space import show_space
from labs.compression.pruning.spec import PruningParams
from labs.compression.pruning.speed import show_time
from labs.compression.pruning.sweep import show_sweep
from labs.contract import N_, Json, LabContext

PARTS = (
    (N_("pruning at other sparsities"), show_sweep),
    (N_("pruning each layer alone"), show_sensitivity),
    (N_("quantizing the pruned model"), show_quantized),
    (N_("weighing the files"), show_space),
    (N_("measuring time"), show_time),
)


def analyze(params: PruningParams, run: LabContext) -> Json:
    """What else there is to know of this pruning, measured on fresh copies of the base.

    Reads the artifact `pruned`. Leaves perplexity against sparsity for all methods, with each layer
    pruned alone, and with 4-bit integers on top; the time and the space that the zeros take.
    """
    pruned = require_artifact(run, "pruned", "prune")
    bench = Bench.of(params, run)
    found: Json = {"compared_tokens": bench.tokens}
    for done, (note, show) in enumerate(PARTS):
        run.check_stop()
        run.progress(done, len(PARTS), note)
        found |= show(bench, pruned)
    run.progress(len(PARTS), len(PARTS), "done")
    return found
