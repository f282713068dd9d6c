"""Keys and values with room for what is to come: a token more is written, and all before it stay where they are.

The cache of transformers that grows copies all of its tokens at every step, which on a CPU takes
longer than the model.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    """Keys and values of one block, in tensors as long as they will ever be."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        """Tokens."""
        self._held: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the states of some tokens, `[rows, heads, tokens, width]`; all there are."""
        start, given = self.get_seq_length(), (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._held = [states.new_empty(*states.shape[:2], self._room, states.shape[-1]) for states in given]
        end = start + key_states.shape[-2]
        for held, states in zip(self._held, given, strict=True):
            held[:, :, start:end] = states
        return self._show(end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows alone."""
        end = self.get_seq_length()
        self._held = [held[indices] for held in self._held]
        if self._held:
            self._show(end)

    def _show(self, end: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (held[:, :, :end] for held in self._held)
        return self.keys, self.values


def roomy(model: PreTrainedModel, room: int) -> DynamicCache:
    """An empty cache with room for so many tokens; sliding windows, which keep few, stay as they are."""
    cache = DynamicCache(config=model.config)
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
