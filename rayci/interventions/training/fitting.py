"""The loop of further training: cross-entropy of drawn items, stepped at rates that are known before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from rayci.interventions.batches import Drawn, Order
from rayci.interventions.predictions import predict
from rayci.interventions.trainer import Trainer
from rayci.model.encoding import chunks
from rayci.subject import Subject


def steps_of(passes: Sequence[Order], epochs: float, accumulation: int) -> list[Sequence[tuple[int, ...]]]:
    """The batches of every step of so many passes, parts of a pass rounded up to a whole step.

    Those of fewer epochs are the first of those of more. A step never spans two passes.
    """
    groups = [group for order in passes for group in chunks(order, accumulation)]
    return groups[: max(ceil(epochs * len(groups) / len(passes) - 1e-9), 1)]  # .1 · 30 is a little more than 3


@dataclass(frozen=True)
class Fitting:
    """A training with its items drawn; no weight is touched yet."""

    subject: Subject
    drawn: Drawn
    steps: Sequence[Sequence[tuple[int, ...]]]
    """Batches of every step, whose gradients are averaged."""
    rates: Sequence[float]
    """Learning rate of every step."""
    micro_tokens: int

    def run(self, trainer: Trainer) -> dict[str, float]:
        """Train what the trainer holds; returns the receipt's counts."""
        losses = []
        for group, rate in zip(self.steps, self.rates, strict=True):
            losses.append(torch.stack([self._backward(places, len(group)) for places in group]).mean())
            trainer.set_rate(rate)
            trainer.step()
        seen, items = sum(len(places) for group in self.steps for places in group), len(self.drawn.items)
        counts = {"steps": len(self.steps), "samples": items, "passes": seen / items}
        return {**counts, "first_loss": float(losses[0]), "last_loss": float(losses[-1])}

    def _backward(self, places: tuple[int, ...], share: int) -> Tensor:
        """The gradient of a batch as one of `share` in a step; its mean cross-entropy in nats, on the device."""
        batch = self.drawn.batch(places)
        tokens = max(int(batch.labelled.sum()), 1)  # a text of one token predicts none
        total = torch.zeros((), device=self.subject.device)
        for part in batch.parts(self.micro_tokens):
            loss = -predict(self.subject, part).log_probs().sum() / tokens
            (loss / share).backward()
            total += loss.detach().to(total.device)
        return total
