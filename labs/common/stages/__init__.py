"""The stages that all tuning labs share; each takes the lab's `Tuning` and the run."""

from labs.common.stages.inference import inference
from labs.common.stages.merge import merge
from labs.common.stages.setup import setup
from labs.common.stages.train import train

__all__ = ["inference", "merge", "setup", "train"]
