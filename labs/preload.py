"""What trainers import, imported once in the process they are forked from.

Imports only. A child forked after its parent ran one tensor operation hangs at its
first parallel one, and a child of a process that has initialised CUDA cannot use it.
"""

import importlib
import os

from labs.common.quantization import hide_bitsandbytes

# Read by libgomp when torch is loaded: two spinning trainers on two cores crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Looking for a GPU must not initialise CUDA here.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Models are read from folders; nothing is looked up on a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

hide_bitsandbytes()
for module in (
    "torch",
    "transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.generation.utils",
    "peft",  # brings all of its tuners
):
    importlib.import_module(module)
