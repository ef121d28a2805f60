"""The stages of the BitFit lab, in their order."""

from labs.common import stages
from labs.contract import Json, LabContext
from labs.peft.bitfit.spec import BitFitParams
from labs.peft.bitfit.tuning import BitFitTuning


def setup(params: BitFitParams, run: LabContext) -> Json:
    """Free the bias vectors, count them."""
    return stages.setup(BitFitTuning(params), run)


def train(params: BitFitParams, run: LabContext) -> Json:
    """Train the bias vectors; leave how far each moved as `bias_delta`."""
    return stages.train(BitFitTuning(params), run)


def inference(params: BitFitParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(BitFitTuning(params), run)


def deploy(params: BitFitParams, run: LabContext) -> Json:
    """b + Δb in place of b on a fresh base; leave the artifact `merged`."""
    tuning = BitFitTuning(params)
    return stages.apply(tuning, run, tuning.as_trained)
