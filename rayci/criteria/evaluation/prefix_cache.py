"""Keys and values of a shared prefix, computed once and read by every batch of its group."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from rayci.criteria.evaluation.question_tokens import Ids
from rayci.criteria.evaluation.scored_positions import projecting
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import DynamicCache


def prefix_cache(subject: Subject, prefix: Ids) -> DynamicCache | None:
    """The cache after a prefix, one row; None where the model keeps none that can be repeated.

    Not every model reads its past from such a cache: states of recurrent and linear-attention
    layers are others, and a model's own code may know no cache at all.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    # These hold nothing but keys and values; their subclasses may hold recurrent states.
    repeatable = (DynamicLayer, DynamicSlidingWindowLayer)
    model = subject.model
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return None
    cache = DynamicCache(config=model.config)
    if any(type(layer) not in repeatable for layer in cache.layers):
        return None
    ids = torch.from_numpy(prefix).long().unsqueeze(0).to(subject.device)
    with projecting(model, torch.zeros(1, dtype=torch.int64)):
        model(input_ids=ids, past_key_values=cache, use_cache=True)
    return cache if cache.layers and cache.get_seq_length() == len(prefix) else None


def repeated(cache: DynamicCache, rows: int) -> DynamicCache:
    """A cache for so many rows, which a forward pass may write to; the one given stays as it is."""
    own = copy.deepcopy(cache)
    own.batch_repeat_interleave(rows)
    return own


def shifted(cache: DynamicCache, columns: Sequence[int], room: int) -> DynamicCache | None:
    """A row for each number of columns by which it stands further right, at the same width, with room to go on.

    What goes over the right end is left out; columns before the shift hold nothing of meaning and
    are to be masked. None where a sliding window has dropped the beginning of the prefix.
    """
    from transformers.cache_utils import DynamicLayer

    from rayci.criteria.evaluation.roomy_cache import RoomyLayer

    own = copy.deepcopy(cache)
    layers: list[Any] = own.layers
    for place, layer in enumerate(layers):
        if not layer.is_initialized:  # it reads another layer's
            continue
        if layer.keys.shape[-2] < cache.get_seq_length():
            return None
        keys, values = (torch.cat([held.roll(by, dims=-2) for by in columns]) for held in (layer.keys, layer.values))
        if type(layer) is DynamicLayer:
            layers[place] = RoomyLayer(room)
            layers[place].update(keys, values)
        else:
            layer.keys, layer.values = keys, values
    return own
