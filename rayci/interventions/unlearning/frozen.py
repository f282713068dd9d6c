"""The model as it was before training: what terms of a loss compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from rayci.interventions.batches import Drawn
from rayci.interventions.predictions import Predictions, predict
from rayci.model.encoding import chunks
from rayci.model.likelihood import in_chunks
from rayci.model.vocabulary_chunks import Projection
from rayci.subject import Subject


def originals(subject: Subject, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the parameters that will be trained; the rest of the model stays as it is anyway."""
    return {name: value.detach().clone() for name, value in subject.parameters_of(names).items()}


class Before:
    """What a term remembers of the model before training: nothing."""

    def __init__(self, subject: Subject, drawn: Drawn, batch: int, micro_tokens: int) -> None:
        self._subject, self._drawn, self._sizes = subject, drawn, (batch, micro_tokens)

    def begin(self, names: Iterable[str]) -> None:
        """Take from the model what is to be remembered, if that has not been done: `names` are trained from now on."""

    def _passes(self) -> Iterator[Predictions]:
        """Forward passes over all items, in their order."""
        batch, micro_tokens = self._sizes
        for places in chunks(range(len(self._drawn.items)), batch):
            for part in self._drawn.batch(places).parts(micro_tokens):
                yield predict(self._subject, part)


class Likelihoods(Before):
    """log p_ref of every item."""

    _values: Tensor | None = None

    @torch.no_grad()
    def begin(self, names: Iterable[str]) -> None:
        if self._values is None:
            self._values = torch.cat([f.log_probs().sum(-1).to(self._subject.device) for f in self._passes()])

    def of(self, places: tuple[int, ...]) -> Tensor:
        """log p_ref of the items at these places, `[items]`, in nats."""
        assert self._values is not None, "training has not begun"
        return self._values[list(places)]


class Distributions(Before):
    """The reference's logits of the labelled tokens of all items.

    Kept are the hidden states, in host memory: a few thousand numbers a token where the distribution has 128 000.
    They are projected again for each batch, by the output embeddings as they were.
    """

    _projection: Projection | None = None

    @torch.no_grad()
    def begin(self, names: Iterable[str]) -> None:
        if self._projection is None:
            self._states: list[Tensor] = []
            for found in self._passes():
                self._states += found.states.cpu().split(found.mask.sum(1).tolist())
                self._projection = found.projection
            assert self._projection is not None, "there are no items"
        if _trains_head(self._subject, names):
            self._projection = self._projection.kept()

    def compared(
        self, places: tuple[int, ...], now: Predictions, score: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """`score` of logits, the reference's logits (both `[tokens, vocabulary]`) and tokens, as `[labelled]`.

        The labelled tokens of the items at these places follow each other; their logits exist a chunk at a time.
        """
        assert self._projection is not None, "training has not begun"
        reference = self._projection
        before = torch.cat([self._states[place] for place in places]).to(now.states.device)

        def rows(states: Tensor, earlier: Tensor, tokens: Tensor) -> Tensor:
            with torch.no_grad():
                expected = reference.logits(earlier)
            return score(now.projection.logits(states), expected, tokens)

        return in_chunks(rows, now.vocabulary, now.states, before, now.tokens)


def _trains_head(subject: Subject, names: Iterable[str]) -> bool:
    """Whether the output embeddings are among the parameters of these names."""
    head = {id(value) for value in subject.model.get_output_embeddings().parameters()}
    return any(id(value) in head for value in subject.parameters_of(names).values())
