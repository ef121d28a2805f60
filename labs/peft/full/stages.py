"""The stages of the full fine-tuning lab, in their order."""

from labs.common import stages
from labs.contract import Json, LabContext
from labs.peft.full.spec import FullParams
from labs.peft.full.tuning import FullTuning


def setup(params: FullParams, run: LabContext) -> Json:
    """Count the weights; all of them will be trained."""
    return stages.setup(FullTuning(params, run), run)


def train(params: FullParams, run: LabContext) -> Json:
    """Train every weight; leave the artifact `model`."""
    return stages.train(FullTuning(params, run), run)


def inference(params: FullParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(FullTuning(params, run), run)


def deploy(params: FullParams, run: LabContext) -> Json:
    """Load the saved model as anybody would; prove that it says the same."""
    return stages.reload(FullTuning(params, run), run)
