"""The one training loop of the unlearning methods whose loss is forget + α·retain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rayci.interventions.trainer import Trainer
from rayci.interventions.unlearning.method import Training
from rayci.interventions.unlearning.terms import Side
from rayci.model.encoding import chunks

Group = list[tuple[tuple[int, ...], tuple[int, ...]]]
"""(forget, retain) batches of a step."""


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

    names: tuple[str, ...]
    forget: Side
    retain: Side | None
    accumulation: int
    stop: Stop = field(default_factory=Stop)
    radius: float = 0.0
    """How far ahead of the weights the forget loss takes its gradient."""
    _ahead: float = field(default=0.0, init=False)
    """How far that last was, in the dtype of the weights."""

    def forget_gradients(self) -> int:
        self.forget.before.begin(())
        batches = self.forget.drawn.epochs[0]
        for places in batches:
            self._forget(places, 1)
        return len(batches)

    def run(self, trainer: Trainer) -> dict[str, float]:
        for side in filter(None, (self.forget, self.retain)):
            side.before.begin(trainer.names)
        steps, last = 0, 0.0
        for group in self._groups():
            seen = self._gradients(trainer, group)
            last = seen[-1]
            if self.stop.before(sum(seen) / len(seen)):
                break
            trainer.step()
            steps += 1
            if self.stop.after(steps):
                break
        counts = {"steps": steps, "forget_loss": last, "samples": len(self.forget.drawn.items)}
        return {**counts, "sam_shift": self._ahead} if self.radius else counts

    def _gradients(self, trainer: Trainer, group: Group) -> list[float]:
        """The gradients of a step; the cross-entropy of each forget batch, at the weights as they are."""
        if not self.radius:
            return [self._backward(*pair, len(group)) for pair in group]
        seen = [self._forget(forget, len(group)) for forget, _ in group]
        with trainer.ahead(self.radius) as self._ahead:
            for forget, _ in group:
                self._forget(forget, len(group))
        for _, retain in group:
            self._hold(retain, len(group))
        return seen

    def _groups(self) -> Iterator[Group]:
        """(forget, retain) batches of every step; a step never spans two epochs."""
        for number, epoch in enumerate(self.forget.drawn.epochs):
            beside = self.retain.drawn.epochs[number] if self.retain else [()] * len(epoch)
            yield from (list(group) for group in chunks(list(zip(epoch, beside, strict=True)), self.accumulation))

    def _backward(self, forget: tuple[int, ...], retain: tuple[int, ...], share: int) -> float:
        """The gradient of a batch as one of `share` in a step; the forget batch's cross-entropy."""
        cross_entropy = self._forget(forget, share)
        self._hold(retain, share)
        return cross_entropy

    def _hold(self, retain: tuple[int, ...], share: int) -> None:
        if self.retain is not None:
            for part in self.retain.parts(retain):
                self.retain.backward(part, share)

    def _forget(self, forget: tuple[int, ...], share: int) -> float:
        cross_entropy = 0.0
        for part in self.forget.parts(forget):
            self.forget.backward(part, share)
            cross_entropy += part.cross_entropy()
        return cross_entropy
