"""The stages that all tuning labs share; each takes the lab's `Tuning` and the run."""

from labs.common.stages.fold import fold
from labs.common.stages.inference import inference
from labs.common.stages.merge import apply, merge
from labs.common.stages.reload import reload
from labs.common.stages.setup import setup
from labs.common.stages.switch import switch
from labs.common.stages.train import train

__all__ = ["apply", "fold", "inference", "merge", "reload", "setup", "switch", "train"]
