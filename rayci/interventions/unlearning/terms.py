"""The terms that unlearning losses are made of: ascent, preference, descent, divergence."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from rayci.interventions.trainer import batch_logits
from rayci.interventions.unlearning.batches import Drawn
from rayci.interventions.unlearning.frozen import ReferenceDistributions, reference_sequences
from rayci.model.encoding import Batch
from rayci.model.likelihood import cross_entropy, distributions, kl_divergence, npo_loss
from rayci.subject import Subject


class ForgetTerm(Protocol):
    """The forget loss of one method on one model."""

    def begin(self) -> None:
        """Take from the untouched model what the loss compares with; a second call changes nothing."""

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor) -> Tensor:
        """The loss from the log-probabilities of a batch's labelled tokens and their mask, `[items, tokens]`."""


class RetainTerm(Protocol):
    """The weighted retain loss of one method on one model."""

    def begin(self, names: tuple[str, ...]) -> None:
        """Take from the untouched model what the loss compares with; `names` will be trained."""

    def of(self, places: tuple[int, ...], batch: Batch) -> Tensor:
        """The weighted loss of a batch."""


class Ascent:
    """−CE: its minimum is a model that finds the forget items as unlikely as it can."""

    def begin(self) -> None:
        """Nothing to remember."""

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor) -> Tensor:
        return picked.sum() / mask.sum()


class Fit:
    """CE: learn the items, for methods that fine-tune."""

    def begin(self) -> None:
        """Nothing to remember."""

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor) -> Tensor:
        return -picked.sum() / mask.sum()


class Preference:
    """NPO: like ascent, but weaker the less likely an item already is than under the untouched model."""

    def __init__(
        self, subject: Subject, beta: float, drawn: Drawn, batch: int, *, length_normalised: bool = False
    ) -> None:
        self._subject, self._beta, self._drawn, self._batch = subject, beta, drawn, batch
        self._length_normalised = length_normalised
        self._reference: Tensor | None = None

    def begin(self) -> None:
        """log p_ref of every drawn item."""
        if self._reference is None:
            self._reference = reference_sequences(self._subject, self._drawn, self._batch)

    def of(self, places: tuple[int, ...], picked: Tensor, mask: Tensor) -> Tensor:
        assert self._reference is not None
        log_ratio = picked.sum(-1) - self._reference[list(places)]
        return npo_loss(log_ratio / mask.sum(-1) if self._length_normalised else log_ratio, self._beta)


class Descent:
    """α·CE(retain)."""

    def __init__(self, subject: Subject, alpha: float) -> None:
        self._subject, self._alpha = subject, alpha

    def begin(self, names: tuple[str, ...]) -> None:
        """Nothing to remember."""

    def of(self, places: tuple[int, ...], batch: Batch) -> Tensor:
        return self._alpha * cross_entropy(batch_logits(self._subject, batch), batch.labels)


class Divergence:
    """α·KL(p_θ(retain) ‖ p_ref(retain))."""

    def __init__(self, subject: Subject, alpha: float, drawn: Drawn, batch: int) -> None:
        self._subject, self._alpha, self._drawn, self._batch = subject, alpha, drawn, batch
        self._reference: ReferenceDistributions | None = None

    def begin(self, names: tuple[str, ...]) -> None:
        """The untouched model's distributions, or its weights."""
        self._reference = ReferenceDistributions(self._subject, names, self._drawn, self._batch)

    def of(self, places: tuple[int, ...], batch: Batch) -> Tensor:
        assert self._reference is not None
        now = distributions(batch_logits(self._subject, batch), batch.labels)
        return self._alpha * kl_divergence(now, self._reference.of(places, batch))
