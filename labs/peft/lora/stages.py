"""The stages of the LoRA lab, in their order."""

from labs.common import stages
from labs.common.peft_tuning import merged_into_base
from labs.contract import Json, LabContext
from labs.peft.lora.spec import LoraParams
from labs.peft.lora.tuning import LoraTuning


def setup(params: LoraParams, run: LabContext) -> Json:
    """Place A and B, count them, prove that nothing changed: B is zero."""
    return stages.setup(LoraTuning(params), run)


def train(params: LoraParams, run: LabContext) -> Json:
    """Train A and B; leave the artifact `adapter` in the layout of peft."""
    return stages.train(LoraTuning(params), run)


def inference(params: LoraParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(LoraTuning(params), run)


def deploy(params: LoraParams, run: LabContext) -> Json:
    """W0 + s·BA in place of W0; leave the artifact `merged`."""
    return stages.merge(LoraTuning(params), run, merged_into_base)
