"""The stages of the P-tuning v2 lab, in their order."""

from labs.common import stages
from labs.common.stages.switch import PeftTasks
from labs.contract import Json, LabContext
from labs.peft.p_tuning_v2.spec import PTuningV2Params
from labs.peft.p_tuning_v2.tuning import LabelTasks, PTuningV2


def setup(params: PTuningV2Params, run: LabContext) -> Json:
    """Place the prompts and the head, and count them."""
    return stages.setup(PTuningV2(params, run), run)


def train(params: PTuningV2Params, run: LabContext) -> Json:
    """Train the prompts of all layers, and the head if it is new."""
    return stages.train(PTuningV2(params, run), run)


def inference(params: PTuningV2Params, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(PTuningV2(params, run), run)


def deploy(params: PTuningV2Params, run: LabContext) -> Json:
    """One base, many tasks: what one more of them costs."""
    tuning = PTuningV2(params, run)
    return stages.switch(tuning, run, tasks=LabelTasks if tuning.labels else PeftTasks)
