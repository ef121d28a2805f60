"""The stages of the P-tuning lab, in their order."""

from labs.common import stages
from labs.contract import Json, LabContext
from labs.peft.p_tuning.spec import PTuningParams
from labs.peft.p_tuning.tuning import PTuning


def setup(params: PTuningParams, run: LabContext) -> Json:
    """Place the prompt encoder and count it."""
    return stages.setup(PTuning(params), run)


def train(params: PTuningParams, run: LabContext) -> Json:
    """Train the encoder and the vectors that it reads."""
    return stages.train(PTuning(params), run)


def inference(params: PTuningParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(PTuning(params), run)


def deploy(params: PTuningParams, run: LabContext) -> Json:
    """Keep what the encoder wrote, drop it, prove that nothing changed; leave the artifact `adapter`."""
    return stages.fold(PTuning(params), run)
