"""What the unlearning methods that train share: the data is drawn first, then a trainer runs the training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

from rayci.context import Context
from rayci.intervention import Receipt
from rayci.interventions.parametrisation import Parametrised
from rayci.interventions.trainer import Trainer
from rayci.kinds import Kind
from rayci.settings import Needs
from rayci.subject import Subject
from rayci.workload import BATCH_TOKENS, Workload


class Training(ABC):
    """A training with its data drawn; no weight is touched yet."""

    names: tuple[str, ...]
    """Full names of the parameters that the method trains when nobody restricts it."""

    @abstractmethod
    def forget_gradients(self) -> int:
        """Backward passes of the forget loss of all batches of one pass, at the weights as they are; their number."""

    @abstractmethod
    def run(self, trainer: Trainer) -> dict[str, float]:
        """Train whatever parameters the trainer holds; returns the receipt's counts."""


class Unlearner(Parametrised, ABC):
    """An unlearning method that trains weights; `sure` can restrict it to some modules."""

    kind: ClassVar[Kind] = Kind.UNLEARN
    parts: ClassVar[frozenset[str]] = frozenset({"forget"})
    """Parts of the data that are read by default."""
    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]

    @property
    def distributions(self) -> int:
        """Distributions over the vocabulary that the forget loss looks at for each token."""
        return 1

    def reads(self) -> frozenset[str]:
        """Parts of the data that these settings read."""
        return self.parts

    @abstractmethod
    def prepare(self, subject: Subject, context: Context) -> Training:
        """Draw what is trained on; settings, model and data fit, as `check` has found."""

    def memory(self, work: Workload) -> int:
        return self.training_memory(self.as_trained(work), work.changed_by(self))

    def training_memory(self, work: Workload, names: Collection[str]) -> int:
        """Bytes of training these parameters alone, as `sure` does."""
        return work.training_bytes(names, self.forget_tokens(work), storage=self.storage)

    def host_memory(self, work: Workload) -> int:
        return self.waiting_memory(self.as_trained(work), work.changed_by(self))

    def waiting_memory(self, work: Workload, names: Collection[str]) -> int:
        """Bytes in host memory of training these parameters alone, as `sure` does."""
        return work.waiting_bytes(names, self.storage)

    def forget_tokens(self, work: Workload) -> int:
        """Most tokens of forget items that pass at a time."""
        return BATCH_TOKENS

    def apply(self, subject: Subject, context: Context) -> Receipt:
        training = self.prepare(subject, context)
        with self.trainer(subject, context, training.names) as trainer:
            return trainer.receipt(**training.run(trainer))
