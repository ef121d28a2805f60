"""The stages of the adapter lab, in their order."""

from labs.common import stages
from labs.contract import Json, LabContext
from labs.peft.adapter.spec import AdapterParams
from labs.peft.adapter.tuning import AdapterTasks, AdapterTuning


def setup(params: AdapterParams, run: LabContext) -> Json:
    """Put the bottlenecks in, count them, prove that nothing changed: W_up is zero."""
    return stages.setup(AdapterTuning(params), run)


def train(params: AdapterParams, run: LabContext) -> Json:
    """Train the bottlenecks; leave the artifact `bottlenecks`."""
    return stages.train(AdapterTuning(params), run)


def inference(params: AdapterParams, run: LabContext) -> Json:
    """The same prompts through base and tuned model."""
    return stages.inference(AdapterTuning(params), run)


def deploy(params: AdapterParams, run: LabContext) -> Json:
    """One base, many sets of bottlenecks: what they cost, and what a switch costs."""
    return stages.switch(AdapterTuning(params), run, "bottlenecks", AdapterTasks)
