"""The stages of the prefix tuning lab, in their order."""

from labs.common import stages
from labs.contract import Json, LabContext
from labs.peft.prefix_tuning.spec import PrefixTuningParams
from labs.peft.prefix_tuning.tuning import PrefixTuning


def setup(params: PrefixTuningParams, run: LabContext) -> Json:
    """Place the prefix and count it, with and without the MLP."""
    return stages.setup(PrefixTuning(params), run)


def train(params: PrefixTuningParams, run: LabContext) -> Json:
    """Train the prefix and the MLP that writes it, if there is one."""
    return stages.train(PrefixTuning(params), run)


def inference(params: PrefixTuningParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(PrefixTuning(params), run)


def deploy(params: PrefixTuningParams, run: LabContext) -> Json:
    """Drop the MLP, prove that nothing changed, measure a switch; leave the artifact `adapter`."""
    tuning = PrefixTuning(params)
    folded = stages.fold(tuning, run)
    return {**folded, **stages.switch(tuning, run)}
