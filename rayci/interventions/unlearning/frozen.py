"""The model as it was before training: what KL and NPO compare with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from rayci.interventions.batches import Drawn
from rayci.interventions.predictions import Predictions, predict
from rayci.model.encoding import chunks
from rayci.model.likelihood import divergences, in_chunks
from rayci.model.vocabulary_chunks import Projection
from rayci.subject import Subject


def originals(subject: Subject, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the parameters that will be trained; the rest of the model stays as it is anyway."""
    return {name: value.detach().clone() for name, value in subject.parameters_of(names).items()}


@torch.no_grad()
def reference_sequences(subject: Subject, drawn: Drawn, batch: int, micro_tokens: int) -> Tensor:
    """log p_ref of every drawn item, `[items]`; called before training."""
    passes = _passes(subject, drawn, batch, micro_tokens)
    return torch.cat([found.log_probs().sum(-1).to(subject.device) for found in passes])


class ReferenceDistributions:
    """log p_ref over the vocabulary for the labelled tokens of drawn items, as they are before training.

    Kept are the hidden states, in host memory: a few thousand numbers a token where the distribution has 128 000.
    They are projected again for each batch, by the output embeddings as they were.
    """

    @torch.no_grad()
    def __init__(self, subject: Subject, names: Iterable[str], drawn: Drawn, batch: int, micro_tokens: int) -> None:
        self._states: list[Tensor] = []
        for found in _passes(subject, drawn, batch, micro_tokens):
            projection = found.projection
            self._states += found.states.cpu().split(found.mask.sum(1).tolist())
        self._projection: Projection = projection.kept() if _trains_head(subject, names) else projection

    def divergence(self, places: tuple[int, ...], now: Predictions) -> Tensor:
        """Sum of KL(p ‖ p_ref) over the labelled tokens of the items at these places, in nats."""
        before = torch.cat([self._states[place] for place in places]).to(now.states.device)

        def rows(states: Tensor, reference: Tensor) -> Tensor:
            with torch.no_grad():
                log_reference = torch.log_softmax(self._projection.logits(reference), dim=-1)
            return divergences(torch.log_softmax(now.projection.logits(states), dim=-1), log_reference)

        return in_chunks(rows, now.vocabulary, now.states, before).sum()


def _passes(subject: Subject, drawn: Drawn, batch: int, micro_tokens: int) -> Iterator[Predictions]:
    for places in chunks(range(len(drawn.items)), batch):
        for part in drawn.batch(places).parts(micro_tokens):
            yield predict(subject, part)


def _trains_head(subject: Subject, names: Iterable[str]) -> bool:
    """Whether the output embeddings are among the parameters of these names."""
    head = {id(value) for value in subject.model.get_output_embeddings().parameters()}
    return any(id(value) in head for value in subject.parameters_of(names).values())
