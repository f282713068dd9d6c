"""What a model predicts of the labelled tokens of a batch, in little memory.

Their hidden states alone are projected onto the vocabulary, a chunk at a time (`model.likelihood`), and decoder blocks
whose graphs would take much are run again in the backward pass (`model.checkpointing`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from rayci.model.checkpointing import checkpointed
from rayci.model.encoding import Batch
from rayci.model.likelihood import in_chunks, log_probs
from rayci.model.step_memory import StepMemory
from rayci.model.vocabulary_chunks import Projection, hidden_states
from rayci.subject import Subject


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Of one forward pass; what is computed from it is differentiable."""

    states: Tensor
    """After the last norm where a labelled token is predicted, `[labelled, channels]`; items follow each other."""
    tokens: Tensor
    """The labelled tokens, `[labelled]`."""
    mask: Tensor
    """Which tokens but an item's first are labelled, bool `[items, tokens - 1]`."""
    projection: Projection
    vocabulary: int

    def log_probs(self) -> Tensor:
        """log p of every labelled token, fp32 `[items, tokens - 1]`; 0 elsewhere."""
        found = in_chunks(self._log_probs, self.vocabulary, self.states, self.tokens)
        zeros = torch.zeros(self.mask.shape, device=found.device)
        return zeros.masked_scatter(self.mask, found)

    def answered(self) -> Tensor:
        """Whether every labelled token of an item is the most likely one, bool `[items]`."""
        hits = in_chunks(self._hits, self.vocabulary, self.states, self.tokens)
        return (torch.ones_like(self.mask).masked_scatter(self.mask, hits)).all(-1)

    def _log_probs(self, states: Tensor, tokens: Tensor) -> Tensor:
        return log_probs(self.projection.logits(states), tokens)

    def _hits(self, states: Tensor, tokens: Tensor) -> Tensor:
        return self.projection.logits(states).argmax(-1) == tokens


def predict(subject: Subject, batch: Batch) -> Predictions:
    """A forward pass over a batch, wherever that lies."""
    states, projection = last_states(subject, batch)
    mask, tokens = batch.labelled.to(states.device), batch.labels[:, 1:].to(states.device)
    return Predictions(states[:, :-1][mask], tokens[mask], mask, projection, StepMemory(subject).vocabulary)


def last_states(subject: Subject, batch: Batch) -> tuple[Tensor, Projection]:
    """What a forward pass leaves after the last norm, `[items, tokens, channels]`, and what makes it logits."""
    moved, sizes = batch.to(subject.device), StepMemory(subject)
    with frugal(subject, sizes.graph_bytes(moved.input_ids.numel(), sizes.blocks)):
        states, projection = hidden_states(subject.model, moved.input_ids, moved.attention_mask)
    return states.unflatten(0, moved.input_ids.shape), projection


def frugal(subject: Subject, graph: int) -> AbstractContextManager[None]:
    """Checkpointing of the decoder blocks where they would keep too many bytes for the backward pass."""
    return checkpointed(subject.blocks) if graph > StepMemory.kept_graph else nullcontext()
