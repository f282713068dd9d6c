"""One forward pass, its hidden states projected onto the vocabulary chunk by chunk.

The logits of 8192 tokens over a vocabulary of 128 000 are 4 GB; the hidden states that they are made of, 64 MB.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SPAN = 64.0
"""Logits of the probe lie between minus and plus this: caps of 30 and 50 are in use."""


@dataclass(frozen=True, slots=True)
class Projection:
    """From the hidden states after a model's last norm to its logits."""

    model: PreTrainedModel
    head: Any
    """The output embeddings; None where they are no module that is called: the states then are logits."""
    plain: bool = True
    """Whether logits are what the head gives: the model neither scales nor caps them afterwards."""

    def logits(self, states: Tensor) -> Tensor:
        """fp32 logits `[tokens, vocabulary]` of the states `[tokens, channels]`."""
        if self.head is None:
            return states.float()
        projected: Tensor = self.head(states.unsqueeze(0))
        if not self.plain:  # for what the model does to its logits: the pass of one token, these in place of its own
            one = torch.zeros((1, 1), dtype=torch.int64)
            one = one.to(next(self.model.get_input_embeddings().parameters()).device)
            with _hooked(self.model.get_output_embeddings(), after=lambda *_: projected):
                projected = self.model(input_ids=one, use_cache=False).logits
        return projected.squeeze(0).float()

    def kept(self) -> Projection:
        """The same, whatever becomes of the model's weights: with a copy of the output embeddings."""
        return replace(self, head=copy.deepcopy(self.head))


def hidden_states(model: PreTrainedModel, ids: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Projection]:
    """The states `[rows · tokens, channels]` of a batch `[rows, tokens]`, and what makes them logits.

    Rows are padded on the right: what is causal does not see what comes later, so that no `mask` of the tokens that
    are none is needed.
    """
    head: Any = model.get_output_embeddings()
    seen: list[Tensor] = []

    def keep(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(given[0].flatten(0, 1))
        return given[0][:1, :1], *given[1:]

    with _hooked(head, before=keep, after=lambda _, given, found: _probe(found)):
        masked = {} if mask is None else {"attention_mask": mask}
        logits: Tensor = model(input_ids=ids, use_cache=False, **masked).logits
    if not seen:
        return logits.flatten(0, 1), Projection(model, None)
    return seen[0], Projection(model, head, plain=logits.equal(_probe(logits)))


def _probe(like: Tensor) -> Tensor:
    """Logits `[1, 1, vocabulary]` that show whether something scales or caps them."""
    return torch.linspace(-_SPAN, _SPAN, like.shape[-1], device=like.device).to(like.dtype).expand_as(like).clone()


@contextmanager
def _hooked(module: Any, *, after: Callable[..., Any], before: Callable[..., Any] | None = None) -> Iterator[None]:
    """Inside, what enters and leaves a module passes through these; nothing happens where there is no module."""
    hooks = [] if module is None else [module.register_forward_hook(after)]
    if module is not None and before is not None:
        hooks.append(module.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
