"""Settings that methods with one training loop share, and how they become that loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.interventions.batches import Drawn, item_faults, length_faults
from rayci.interventions.trainer import last_blocks
from rayci.interventions.unlearning.method import Unlearner
from rayci.interventions.unlearning.terms import CROSS_ENTROPY, Side, Term
from rayci.subject import Subject
from rayci.workload import Workload

MUSE: Mapping[str, Any] = {
    "last_layers": None,
    "lr": 1e-5,
    "weight_decay": 0.0,
    "samples": None,
    "batch": 32,
    "accumulation": 1,
    "max_tokens": 2048,
    "clip_norm": 1.0,
    "storage": "bfloat16",
}
"""What the baselines of MUSE (arXiv 2407.06460) share: a bf16 model without fp32 masters, and the largest
gradient norm that transformers' `Trainer` has by default."""
NEWS: Mapping[str, Any] = {**MUSE, "epochs": 10}
BOOKS: Mapping[str, Any] = {**MUSE, "epochs": 5}
TESTBED: Mapping[str, Any] = {"clip_norm": None, "storage": "float32"}
"""Where the testbed's presets part from the published ones: nothing is clipped or rounded away."""


class LoopSettings(Unlearner):
    """How much is trained, on how many items, in which batches."""

    version: ClassVar[int] = 2
    forget_term: ClassVar[Term[Any]] = CROSS_ENTROPY

    last_layers: Annotated[int, Field(ge=1)] | None = None
    """How many decoder blocks are trained, counted from the end; None trains every parameter."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Forget items, balanced over topics, and as many retain items; None takes all forget items."""
    batch: Annotated[int, Field(ge=1)] = 32
    """Items in a batch."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are averaged for one step."""
    epochs: Annotated[int, Field(ge=1)] = 10
    """Passes over the samples."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many steps."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of a step's gradients over all trained parameters, longer ones are scaled down; None = no limit."""

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        return self.trained(subject, last_blocks(subject, self.last_layers))

    def item_tokens(self, work: Workload) -> int:
        """Tokens of the longest item: a question with its answer."""
        return work.texts.question

    def forget_tokens(self, work: Workload) -> int:
        return work.at_once(self.batch, self.item_tokens(work), self.micro_tokens)

    def operations(self, work: Workload) -> Effort:
        """Training on every forget item, as often as epochs and `max_steps` let it."""
        names = work.changed_by(self)
        steps = self._trained_on(work) / self.batch / self.accumulation
        return self._passing(work, names) + self.as_trained(work).step_operations(names, steps)

    def _passing(self, work: Workload, names: Collection[str]) -> Effort:
        """All batches of forget items, there and back."""
        tokens = self._trained_on(work) * self.item_tokens(work)
        return self.as_trained(work).training_operations(tokens, names, passes=tokens / self.forget_tokens(work))

    def _trained_on(self, work: Workload) -> int:
        """Forget items, each as often as it is trained on."""
        items = self.epochs * (self.samples or work.count(self.forgotten))
        return min(items, self.max_steps * self.accumulation * self.batch) if self.max_steps else items

    def side(self, term: Term[Any], subject: Subject, drawn: Drawn, weight: float = 1.0) -> Side:
        """A term on these items, under these settings."""
        return Side(term, self, subject, drawn, self.batch, self.micro_tokens, weight)

    def count_of(self, part: str) -> int | None:
        """How many items of a part are drawn; None for all."""
        return self.samples

    @property
    def forgotten(self) -> str:
        """The part of the data that is forgotten."""
        return "forget"

    @property
    def learned_replies(self) -> tuple[str, ...]:
        """What questions get for an answer; none where they keep their own."""
        return ()

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from caught(self.changes, subject)
        for part in sorted(self.reads()):
            yield from item_faults(context, part, self.count_of(part))
            if part.endswith("_questions"):
                yield from length_faults(subject, context, part, self.learned_replies)
