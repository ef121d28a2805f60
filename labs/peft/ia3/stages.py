"""The stages of the IA³ lab, in their order."""

from labs.common import stages
from labs.common.peft_tuning import merged_into_base
from labs.contract import Json, LabContext
from labs.peft.ia3.spec import Ia3Params
from labs.peft.ia3.tuning import Ia3Tuning


def setup(params: Ia3Params, run: LabContext) -> Json:
    """Place the factors at 1, count them, prove that nothing changed."""
    return stages.setup(Ia3Tuning(params), run)


def train(params: Ia3Params, run: LabContext) -> Json:
    """Train the factors; leave the artifact `adapter` in the layout of peft."""
    return stages.train(Ia3Tuning(params), run)


def inference(params: Ia3Params, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(Ia3Tuning(params), run)


def deploy(params: Ia3Params, run: LabContext) -> Json:
    """Multiply the factors into the weights; leave the artifact `merged`."""
    return stages.merge(Ia3Tuning(params), run, merged_into_base)
