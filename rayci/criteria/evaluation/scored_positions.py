"""Logits where they are asked for and nowhere else: of one forward pass, at some positions of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def projecting(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    """Inside, the output embeddings see the hidden states at these positions of the flattened batch alone.

    Logits are then `[1, positions, vocabulary]`. What a model does to its logits (a soft cap, a
    scale) it still does. Models whose embeddings are no module that is called give all logits.
    """
    head: Any = model.get_output_embeddings()
    if head is None:
        yield
        return

    def pick(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states, *rest = inputs
        return states.flatten(0, 1)[positions.to(states.device)].unsqueeze(0), *rest

    hook = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        hook.remove()


def at_positions(logits: Tensor, positions: Tensor) -> Tensor:
    """`[positions, vocabulary]` of logits from within `projecting`, whether the model projected these or all."""
    flat = logits.flatten(0, 1)
    return flat if len(flat) == len(positions) else flat[positions.to(flat.device)]
