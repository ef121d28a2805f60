"""The engines that a model can be served by."""

from labs.common.loading import load_tokenizer
from labs.compression.serve.asked import Engine
from labs.compression.serve.spec import ServeParams
from labs.contract import LabContext


def open_engine(params: ServeParams, run: LabContext) -> Engine:
    """Load the model that this run serves. Each engine is imported only where it is wanted."""
    if params.engine == "llama_cpp":
        from labs.compression.serve.engines.llama_engine import open_llama

        return open_llama(params, run)
    if params.engine == "vllm":
        from labs.compression.serve.engines.vllm_engine import open_vllm

        return open_vllm(params, run)
    from labs.compression.serve.engines.torch_engine import open_torch

    return open_torch(params, run, load_tokenizer(run.base_model))
