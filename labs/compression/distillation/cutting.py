"""A student out of chosen layers of its teacher."""

import copy
from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from labs.compression.common.layerwise import decoder_layers

# Where an attention keeps the number of its layer.
NUMBER = "layer_idx"


def cut(teacher: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A copy of a model with some of its decoder layers, in their order; embeddings and head as well.

    The initialization of DistilBERT (Sanh et al. 2019, section 3). Layers are numbered anew, because
    each finds its place in the cache by its number, and the config tells how many there are.

    Args:
        teacher: It is not changed.
        kept: Numbers of layers from 0, ascending.
    """
    student = copy.deepcopy(teacher)
    layers = decoder_layers(student)
    remaining = [layers[number] for number in kept]
    for number, layer in enumerate(remaining):
        _renumber(layer, number)
    del layers[len(remaining) :]
    for number, layer in enumerate(remaining):
        layers[number] = layer
    config = student.config
    config.num_hidden_layers = len(remaining)
    # Families that mix kinds of attention list them layer by layer.
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = [kinds[number] for number in kept]
    return student


def _renumber(layer: nn.Module, number: int) -> None:
    for module in layer.modules():
        if hasattr(module, NUMBER):
            setattr(module, NUMBER, number)
