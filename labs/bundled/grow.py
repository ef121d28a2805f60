"""A larger model out of a smaller one that computes the same function until it is trained on.

Every second layer is new and adds nothing, because its output matrices are zero; in the old layers
the feed-forward gets neurons whose outputs weigh nothing. Growing saves most of the training
(Chen et al. 2015, Net2Net, arXiv:1511.05641).
"""

import torch
from torch import Tensor, nn
from transformers import Qwen2ForCausalLM


@torch.no_grad()
def grow(small: Qwen2ForCausalLM, large: Qwen2ForCausalLM) -> None:
    """Copy a model into one of the same hidden size, twice the layers and at least its width.

    Args:
        small: The trained model; it is not changed.
        large: A new model; afterwards its logits equal those of `small`.

    Raises:
        ValueError: If the large model does not have twice the layers.
    """
    if len(large.model.layers) != 2 * len(small.model.layers):
        raise ValueError(
            f"{len(small.model.layers)} layers grow into twice as many, "
            f"not into {len(large.model.layers)}."
        )
    large.model.embed_tokens.load_state_dict(small.model.embed_tokens.state_dict())
    large.model.norm.load_state_dict(small.model.norm.state_dict())
    for i, layer in enumerate(small.model.layers):
        _copy_layer(layer, large.model.layers[2 * i])
        added = large.model.layers[2 * i + 1]
        nn.init.zeros_(added.self_attn.o_proj.weight)
        nn.init.zeros_(added.mlp.down_proj.weight)


def _copy_layer(source: nn.Module, target: nn.Module) -> None:
    nn.init.zeros_(target.get_submodule("mlp.down_proj").get_parameter("weight"))
    theirs = dict(target.named_parameters())
    for name, ours in source.named_parameters():
        _corner(theirs[name], ours).copy_(ours)


def _corner(large: Tensor, small: Tensor) -> Tensor:
    return large[tuple(slice(size) for size in small.shape)]
