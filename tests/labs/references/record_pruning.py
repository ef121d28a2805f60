"""Records what llmcompressor prunes of a small Llama, for tests/labs/test_pruning_reference.py.

Run it with an interpreter that has llmcompressor 0.14, from the root of the repository:

    python tests/labs/references/record_pruning.py

It writes pruning.safetensors beside itself: the model, the tokens, and what came out.
"""

import importlib.metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent
TOKENIZER = Path("labs/bundled/models/student")
# With one size of matrix everywhere, each has one block of weights of the same number.
SIZE, LAYERS, VOCABULARY = 32, 2, 48
BLOCKS, LENGTH = 12, 32
CASES = [
    ("wanda", "0:0", 0.5),
    ("wanda", "2:4", 0.5),
    ("sparsegpt", "0:0", 0.5),
    ("sparsegpt", "2:4", 0.5),
]


def network() -> Any:
    """A Llama whose weights are float16 numbers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=SIZE,
        intermediate_size=SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return model


def modifier(method: str, pattern: str, sparsity: float, target: str) -> Any:
    from llmcompressor.modifiers.pruning import WandaPruningModifier
    from llmcompressor.modifiers.pruning.sparsegpt import SparseGPTModifier

    made = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}[method]
    return made(sparsity=sparsity, mask_structure=pattern, targets=[target])


def pruned(blocks: Tensor, case: tuple[str, str, float], target: str = "LlamaDecoderLayer") -> Any:
    """The model as llmcompressor leaves it, one decoder layer after another."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in blocks]
    with TemporaryDirectory() as folder:
        # It looks into the folder that a model came from.
        network().save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
        oneshot(
            model=model,
            # It asks for a tokenizer; the rows are tokens already.
            tokenizer=AutoTokenizer.from_pretrained(TOKENIZER),
            dataset=Dataset.from_list(rows),
            recipe=[modifier(*case, target)],
            pipeline="sequential",
            max_seq_length=blocks.shape[1],
            num_calibration_samples=len(blocks),
            shuffle_calibration_samples=False,
        )
    return model


def inside(model: Any) -> dict[str, Tensor]:
    """The matrices of the layers, by their names in the model."""
    named = model.named_parameters()
    return {n: p.detach().clone() for n, p in named if ".layers." in n and p.ndim == 2}


def sparsity(model: Any) -> float:
    found = inside(model).values()
    return sum(int((w == 0).sum()) for w in found) / sum(w.numel() for w in found)


@torch.no_grad()
def record() -> None:
    """Masks of Wanda, and weights of SparseGPT."""
    blocks = torch.randint(VOCABULARY, (BLOCKS, LENGTH), generator=torch.Generator().manual_seed(1))
    tensors = {"blocks": blocks.to(torch.uint8)}
    state = network().state_dict()
    tensors |= {f"base.{n}": w.half() for n, w in state.items() if "lm_head" not in n}
    for case in CASES:
        model = pruned(blocks, case)
        # It prunes nothing at all, and says nothing, where it is given the wrong target.
        assert abs(sparsity(model) - case[2]) < 0.02, (case, sparsity(model))
        for name, weight in inside(model).items():
            kept = weight == 0 if case[0] == "wanda" else weight.contiguous()
            tensors[f"{'_'.join(map(str, case))}.{name}"] = kept
    told = {"sparsity_with_target_Linear": f"{sparsity(pruned(blocks, CASES[0], 'Linear')):.3f}"}
    packages = ("llmcompressor", "compressed-tensors", "transformers", "torch")
    told |= {package: importlib.metadata.version(package) for package in packages}
    save_file(tensors, HERE / "pruning.safetensors", metadata=told)


if __name__ == "__main__":
    record()
