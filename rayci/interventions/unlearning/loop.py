"""The one training loop of the unlearning methods whose loss is forget + α·retain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rayci.interventions.batches import Drawn
from rayci.interventions.predictions import predict
from rayci.interventions.trainer import Trainer
from rayci.interventions.unlearning.method import Training
from rayci.interventions.unlearning.terms import ForgetTerm, RetainTerm, Whole
from rayci.model.encoding import Batch, chunks
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
    micro_tokens: int
    stop: Stop = field(default_factory=Stop)

    def forget_gradients(self) -> int:
        self.forget_term.begin()
        for places in self.forget.epochs[0]:
            self._forget(places, 1)
        return len(self.forget.epochs[0])

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
        """The gradient of a batch as one of `share` in a step; the forget batch's cross-entropy."""
        likelihood = self._forget(forget, share)
        if self.retain is not None and self.retain_term is not None:
            batch = self.retain.batch(retain)
            whole = Whole.of(batch)
            for places, part in self._parts(retain, batch):
                (self.retain_term.of(places, part, whole) / share).backward()
        return likelihood

    def _forget(self, forget: tuple[int, ...], share: int) -> float:
        batch = self.forget.batch(forget)
        whole, likelihood = Whole.of(batch), 0.0
        for places, part in self._parts(forget, batch):
            found = predict(self.subject, part)
            picked = found.log_probs()
            (self.forget_term.of(places, picked, found.mask, whole) / share).backward()
            likelihood -= float(picked.detach().sum() / whole.tokens)
        return likelihood

    def _parts(self, places: tuple[int, ...], batch: Batch) -> Iterator[tuple[tuple[int, ...], Batch]]:
        """What goes through the model at a time: places of items, and the items."""
        start = 0
        for part in batch.parts(self.micro_tokens):
            end = start + len(part.labels)
            yield places[start:end], part
            start = end
