"""The terms that unlearning losses are made of: ascent, preference, descent, divergence.

A batch goes through the model in parts. Each term gives a part's share of the batch's loss, so that the gradients of
all parts add up to that of the batch: means are over the tokens or items of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from rayci.interventions.batches import Drawn
from rayci.interventions.predictions import predict
from rayci.interventions.unlearning.frozen import ReferenceDistributions, reference_sequences
from rayci.model.encoding import Batch
from rayci.model.likelihood import npo_loss
from rayci.subject import Subject


@dataclass(frozen=True, slots=True)
class Whole:
    """The batch of which a part is looked at."""

    items: int
    tokens: int
    """Labelled tokens that are predicted."""

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Counts of a batch."""
        return cls(len(batch.labels), int(batch.labelled.sum()))


class ForgetTerm(Protocol):
    """The forget loss of one method on one model."""

    def begin(self) -> None:
        """Take from the model what the loss compares with, before training; a second call changes nothing."""

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor, whole: Whole) -> Tensor:
        """A part's share, from the log-probabilities of its labelled tokens and their mask, `[items, tokens]`."""


class RetainTerm(Protocol):
    """The weighted retain loss of one method on one model."""

    def begin(self, names: tuple[str, ...]) -> None:
        """Take from the model what the loss compares with, before training; `names` will be trained."""

    def of(self, places: tuple[int, ...], part: Batch, whole: Whole) -> Tensor:
        """A part's share of the weighted loss."""


class Ascent:
    """−CE: its minimum is a model that finds the forget items as unlikely as it can."""

    def begin(self) -> None:
        """Nothing to remember."""

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor, whole: Whole) -> Tensor:
        return picked.sum() / whole.tokens


class Fit:
    """CE: learn the items, for methods that fine-tune."""

    def begin(self) -> None:
        """Nothing to remember."""

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor, whole: Whole) -> Tensor:
        return -picked.sum() / whole.tokens


class Preference:
    """NPO: like ascent, but weaker the less likely an item already is than before training."""

    def __init__(
        self,
        subject: Subject,
        beta: float,
        drawn: Drawn,
        batch: int,
        micro_tokens: int,
        *,
        length_normalised: bool = False,
    ) -> None:
        self._subject, self._beta, self._drawn = subject, beta, drawn
        self._sizes = batch, micro_tokens
        self._length_normalised = length_normalised
        self._reference: Tensor | None = None

    def begin(self) -> None:
        """log p_ref of every drawn item."""
        if self._reference is None:
            self._reference = reference_sequences(self._subject, self._drawn, *self._sizes)

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor, whole: Whole) -> Tensor:
        assert self._reference is not None
        log_ratio = picked.sum(-1) - self._reference[list(places)].to(picked.device)
        each = log_ratio / mask.sum(-1) if self._length_normalised else log_ratio
        return npo_loss(each, self._beta) * (len(places) / whole.items)


class Descent:
    """α·CE(retain)."""

    def __init__(self, subject: Subject, alpha: float) -> None:
        self._subject, self._alpha = subject, alpha

    def begin(self, names: tuple[str, ...]) -> None:
        """Nothing to remember."""

    def of(self, places: tuple[int, ...], part: Batch, whole: Whole) -> Tensor:
        return self._alpha * (-predict(self._subject, part).log_probs().sum() / whole.tokens)


class Divergence:
    """α·KL(p_θ(retain) ‖ p_ref(retain))."""

    def __init__(self, subject: Subject, alpha: float, drawn: Drawn, batch: int, micro_tokens: int) -> None:
        self._subject, self._alpha, self._drawn = subject, alpha, drawn
        self._sizes = batch, micro_tokens
        self._reference: ReferenceDistributions | None = None

    def begin(self, names: tuple[str, ...]) -> None:
        """The hidden states before training, and the output embeddings where they will be trained."""
        self._reference = ReferenceDistributions(self._subject, names, self._drawn, *self._sizes)

    def of(self, places: tuple[int, ...], part: Batch, whole: Whole) -> Tensor:
        assert self._reference is not None
        return self._alpha * (self._reference.divergence(places, predict(self._subject, part)) / whole.tokens)
