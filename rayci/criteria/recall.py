"""Recall: the share of open questions whose answer greedy decoding gives."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.effort import Effort
from rayci.interventions.batches import choose, part_of
from rayci.interventions.unlearning.recall_stop import FORWARD_BATCH, questions_answered
from rayci.kinds import Direction, Scale
from rayci.subject import Subject
from rayci.workload import Workload


class _Recall(Criterion):
    item: ClassVar[str] = "question"
    version: ClassVar[int] = 2
    part: ClassVar[str]

    samples: Annotated[int, Field(ge=1)] | None = None
    """As many questions as an unlearning method with the same `samples` and `loss_on: answer`
    draws, and the same ones on a stage of the same seed; None asks all."""

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        """Only a choice of questions is drawn."""
        return self.samples is not None

    def operations(self, work: Workload) -> Effort:
        questions = self.samples or work.count(self.part)
        return work.forward_operations(questions * work.texts.question, passes=-(-questions // FORWARD_BATCH))

    def memory(self, work: Workload) -> int:
        """A batch of questions with the logits of all their tokens."""
        tokens = FORWARD_BATCH * work.texts.question
        return work.forward_bytes(tokens) + tokens * work.vocabulary * work.element

    def measure(self, subject: Subject, context: Context) -> Reading:
        questions = choose(context, self.part, self.samples)[0] if self.seeded else part_of(context, self.part)
        return mean_reading([float(hit) for hit in questions_answered(subject, questions)])


class ForgetRecall(_Recall):
    """Share of the forget questions that the model still answers."""

    name: ClassVar[str] = "forget_recall"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, 1.0, 0.0, "share")
    needs: ClassVar[frozenset[str]] = frozenset({"forget_questions"})
    part: ClassVar[str] = "forget_questions"


class RetainRecall(_Recall):
    """Share of the retain questions that the model answers."""

    name: ClassVar[str] = "retain_recall"
    scale: ClassVar[Scale] = Scale(Direction.HIGHER, 0.0, 1.0, 0.0, "share")
    needs: ClassVar[frozenset[str]] = frozenset({"retain_questions"})
    part: ClassVar[str] = "retain_questions"
