"""Inference: the base and the saved checkpoint by the same exam, one in memory at a time."""

from labs.common.artifacts import require_artifact
from labs.compression.common.quality import plain
from labs.compression.common.stages import before_and_after
from labs.compression.quantization.spec import QuantizationParams
from labs.compression.quantization.stages.quantize import ARTIFACT
from labs.contract import N_, Json, LabContext
from labs.models import read_facts


def inference(params: QuantizationParams, run: LabContext) -> Json:
    """Judge the untouched model and the checkpoint as it was saved."""
    folder = require_artifact(run, ARTIFACT, "quantize")
    candidates = {
        N_("Base"): plain(run, params, run.base_model),
        N_("Quantized"): plain(run, params, folder),
    }
    return before_and_after(run, params, candidates, read_facts(run.base_model).layers)
