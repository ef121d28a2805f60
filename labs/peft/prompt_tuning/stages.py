"""The stages of the prompt tuning lab, in their order."""

from labs.common import stages
from labs.contract import Json, LabContext
from labs.peft.prompt_tuning.spec import PromptTuningParams
from labs.peft.prompt_tuning.tuning import PromptTuning


def setup(params: PromptTuningParams, run: LabContext) -> Json:
    """Place the soft prompt and count it."""
    return stages.setup(PromptTuning(params, run), run)


def train(params: PromptTuningParams, run: LabContext) -> Json:
    """Train the soft prompt; leave the artifact `adapter` in the layout of peft."""
    return stages.train(PromptTuning(params, run), run)


def inference(params: PromptTuningParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(PromptTuning(params, run), run)


def deploy(params: PromptTuningParams, run: LabContext) -> Json:
    """One base, many soft prompts: what a switch costs."""
    return stages.switch(PromptTuning(params, run), run)
