"""The one training loop of the unlearning methods whose loss is forget + α·retain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rayci.interventions.trainer import Trainer, batch_logits
from rayci.interventions.unlearning.batches import Drawn
from rayci.interventions.unlearning.method import Training
from rayci.interventions.unlearning.terms import ForgetTerm, RetainTerm
from rayci.model.encoding import chunks
from rayci.model.likelihood import token_log_probs
from rayci.subject import Subject


@dataclass(frozen=True)
class Stop:
    """When a training ends before its last epoch."""

    steps: int | None = None
    loss: float | None = None
    recall: float | None = None
    every: int = 5
    measure: Callable[[], float] = field(default=lambda: 1.0)
    """Recall of the forget questions now."""

    def before(self, forget_loss: float) -> bool:
        """Whether the batch's forget cross-entropy says that no further step is needed."""
        return self.loss is not None and forget_loss >= self.loss

    def after(self, steps: int) -> bool:
        """Whether this was the last step."""
        if steps == self.steps:
            return True
        return self.recall is not None and steps % self.every == 0 and self.measure() <= self.recall


@dataclass
class Loop(Training):
    """Steps over drawn batches; one step averages the gradients of `accumulation` of them."""

    subject: Subject
    names: tuple[str, ...]
    forget_term: ForgetTerm
    retain_term: RetainTerm | None
    forget: Drawn
    retain: Drawn | None
    accumulation: int
    stop: Stop = field(default_factory=Stop)

    def forget_losses(self) -> Iterator[Tensor]:
        self.forget_term.begin()
        for places in self.forget.epochs[0]:
            yield self._forget(places)[0]

    def run(self, trainer: Trainer) -> dict[str, float]:
        self.forget_term.begin()
        if self.retain_term is not None:
            self.retain_term.begin(trainer.names)
        steps, last = 0, 0.0
        for group in self._groups():
            seen = [self._backward(*pair, len(group)) for pair in group]
            last = seen[-1]
            if self.stop.before(sum(seen) / len(seen)):
                break
            trainer.step()
            steps += 1
            if self.stop.after(steps):
                break
        return {"steps": steps, "forget_loss": last, "samples": len(self.forget.items)}

    def _groups(self) -> Iterator[list[tuple[tuple[int, ...], tuple[int, ...]]]]:
        """(forget, retain) batches of every step; a step never spans two epochs."""
        for number, epoch in enumerate(self.forget.epochs):
            beside = self.retain.epochs[number] if self.retain else [()] * len(epoch)
            yield from (list(group) for group in chunks(list(zip(epoch, beside, strict=True)), self.accumulation))

    def _backward(self, forget: tuple[int, ...], retain: tuple[int, ...], share: int) -> float:
        loss, likelihood = self._forget(forget)
        if self.retain is not None and self.retain_term is not None:
            loss = loss + self.retain_term.of(retain, self.retain.batch(retain).to(self.subject.device))
        (loss / share).backward()
        return likelihood

    def _forget(self, places: tuple[int, ...]) -> tuple[Tensor, float]:
        batch = self.forget.batch(places).to(self.subject.device)
        picked, mask = token_log_probs(batch_logits(self.subject, batch), batch.labels)
        with torch.no_grad():
            likelihood = float(-picked.sum() / mask.sum())
        return self.forget_term.of(places, picked, mask), likelihood
