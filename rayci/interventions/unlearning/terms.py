"""What unlearning losses are made of: a forget term, and for most methods a weighted retain term.

    loss = forget term(forget batch) + α · retain term(retain batch)

A term is one function of a part of a batch and the method's settings, and says what it remembers of the model before
training. A method is a row, its class: forget term, retain term, presets.

    method       forget term            retain term    file
    ga           ascent                                gradient
    gd           ascent                 cross_entropy  gradient
    ga_klr       ascent                 divergence     gradient
    npo          negative_preference                   npo
    npo_gdr      negative_preference    cross_entropy  npo
    npo_klr      negative_preference    divergence     npo
    simnpo       simple_preference      by setting     simnpo
    undial       self_distillation      by setting     undial
    wga          weighted_ascent        by setting     wga
    satimp       saturation_importance  by setting     satimp
    refusal      cross_entropy                         refusal
    task_vector  cross_entropy                         task_vector

A batch goes through the model in parts. Each term gives a part's share of the batch's loss, so that the gradients of
all parts add up to that of the batch: means are over the tokens or items of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, Self, TypeVar

import torch
from torch import Tensor

from rayci.interventions.batches import Drawn
from rayci.interventions.predictions import Predictions, predict
from rayci.interventions.unlearning.frozen import Before, Distributions
from rayci.model.encoding import Batch
from rayci.model.likelihood import divergences
from rayci.subject import Subject

B = TypeVar("B", bound=Before)


@dataclass(frozen=True, slots=True)
class Whole:
    """The batch of which a part is looked at."""

    items: int
    tokens: int
    """Labelled tokens that are predicted; 1 where there are none, as in texts of one token, so that means are 0."""

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Counts of a batch."""
        return cls(len(batch.labels), max(int(batch.labelled.sum()), 1))


@dataclass(frozen=True, eq=False)
class Part(Generic[B]):
    """Items of a batch that go through the model at a time."""

    places: tuple[int, ...]
    """Of the items among all drawn ones."""
    found: Predictions
    whole: Whole
    before: B
    """The model before training."""

    @cached_property
    def log_probs(self) -> Tensor:
        """log p of every labelled token, `[items, tokens]`; 0 elsewhere."""
        return self.found.log_probs()

    @property
    def lengths(self) -> Tensor:
        """Labelled tokens of each item, `[items]`; 1 where an item has none, so that its mean is 0."""
        return self.found.mask.sum(-1).clamp(min=1)

    @property
    def share(self) -> float:
        """Share of the batch's items."""
        return len(self.places) / self.whole.items

    def cross_entropy(self) -> float:
        """Its share of the batch's, in nats per token."""
        with torch.no_grad():
            return -float(self.mean(self.log_probs))

    def mean(self, values: Tensor) -> Tensor:
        """The part's share of the batch's mean over tokens, from values that are 0 where no token is labelled."""
        return values.sum() / self.whole.tokens


@dataclass(frozen=True)
class Term(Generic[B]):
    """A loss, and what it compares with."""

    loss: Callable[[Part[B], Any], Tensor]
    """A part's share, from the part and the method's settings."""
    before: type[B]


def cross_entropy(part: Part[Before], settings: object) -> Tensor:
    """CE: learn the items."""
    return -part.mean(part.log_probs)


def divergence(part: Part[Distributions], settings: object) -> Tensor:
    """KL(p_θ ‖ p_ref): predict as before training."""

    def each(now: Tensor, before: Tensor, tokens: Tensor) -> Tensor:
        return divergences(torch.log_softmax(now, dim=-1), torch.log_softmax(before, dim=-1))

    return part.mean(part.before.compared(part.places, part.found, each))


CROSS_ENTROPY = Term(cross_entropy, Before)
DIVERGENCE = Term(divergence, Distributions)
Retain = Literal["none", "ce", "kl"]
RETAIN: Mapping[Retain, Term[Any] | None] = {"none": None, "ce": CROSS_ENTROPY, "kl": DIVERGENCE}
"""What a setting calls the retain terms."""


@dataclass
class Side:
    """A term on the items of one part of the data."""

    term: Term[Any]
    settings: Any
    """The method's, for the term."""
    subject: Subject
    drawn: Drawn
    batch: int
    micro_tokens: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        self.before = self.term.before(self.subject, self.drawn, self.batch, self.micro_tokens)

    def parts(self, places: tuple[int, ...]) -> Iterator[Part[Any]]:
        """A batch, as much of it as goes through the model at a time."""
        batch, start = self.drawn.batch(places), 0
        whole = Whole.of(batch)
        for part in batch.parts(self.micro_tokens):
            end = start + len(part.labels)
            yield Part(places[start:end], predict(self.subject, part), whole, self.before)
            start = end

    def backward(self, part: Part[Any], share: int) -> None:
        """The gradient of a part of a batch that is one of `share` in a step."""
        (self.weight * self.term.loss(part, self.settings) / share).backward()
