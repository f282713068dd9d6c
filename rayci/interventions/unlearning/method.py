"""What the unlearning methods that train share: an optimiser, a plan of training, and who runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from rayci.context import Context
from rayci.intervention import Intervention, Receipt
from rayci.interventions.trainer import MICRO_TOKENS, MicroTokens, Trainer, adamw
from rayci.kinds import Kind
from rayci.model.step_memory import Storage
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


class Unlearner(Intervention, ABC):
    """An unlearning method that trains weights; `sure` can restrict it to some modules."""

    kind: ClassVar[Kind] = Kind.UNLEARN
    parts: ClassVar[frozenset[str]] = frozenset({"forget"})
    """Parts of the data that are read by default."""
    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]

    lr: Annotated[float, Field(gt=0)] = 1e-5
    """Learning rate of Adam, constant."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay: AdamW where it is not 0."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of a step's gradients over all trained parameters, longer ones are scaled down; None = no limit."""
    storage: Storage = "bfloat16"
    """Precision of the weights between steps: the published baselines trained bf16 models without fp32 masters."""
    micro_tokens: MicroTokens = MICRO_TOKENS
    """Most tokens, padding included, of a batch that go forward and back at a time; one item does in any case.
    The gradient is that of the batch."""

    def reads(self) -> frozenset[str]:
        """Parts of the data that these settings read."""
        return self.parts

    @abstractmethod
    def prepare(self, subject: Subject, context: Context) -> Training:
        """Draw what is trained on; settings, model and data fit, as `check` has found."""

    def optimizer(self, weights: list[Tensor]) -> Optimizer:
        """Steps these weights: AdamW as torch has it, unless a subclass says otherwise."""
        return adamw(weights, self.lr, self.weight_decay)

    def trainer(self, subject: Subject, names: Iterable[str]) -> Trainer:
        """A trainer of these parameters with the method's optimiser."""
        return Trainer(subject, names, self.optimizer, self.storage, self.clip_norm)

    def memory(self, work: Workload) -> int:
        return self.training_memory(work, work.changed_by(self))

    def training_memory(self, work: Workload, names: Collection[str]) -> int:
        """Bytes of training these parameters alone, as `sure` does."""
        return work.training_bytes(names, self.forget_tokens(work), storage=self.storage)

    def host_memory(self, work: Workload) -> int:
        return self.waiting_memory(work, work.changed_by(self))

    def waiting_memory(self, work: Workload, names: Collection[str]) -> int:
        """Bytes in host memory of training these parameters alone, as `sure` does."""
        return work.waiting_bytes(names, self.storage)

    def forget_tokens(self, work: Workload) -> int:
        """Most tokens of forget items that pass at a time."""
        return BATCH_TOKENS

    def apply(self, subject: Subject, context: Context) -> Receipt:
        training = self.prepare(subject, context)
        with self.trainer(subject, training.names) as trainer:
            return trainer.receipt(**training.run(trainer))
