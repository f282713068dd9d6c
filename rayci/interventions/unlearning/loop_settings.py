"""Settings that methods with one training loop share, and how they become that loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.interventions.batches import (
    Drawn,
    answer_encoder,
    choose,
    cycled,
    epochs_of,
    item_faults,
    text_encoder,
)
from rayci.interventions.trainer import last_blocks
from rayci.interventions.unlearning.loop import Loop, Stop
from rayci.interventions.unlearning.method import Training, Unlearner
from rayci.interventions.unlearning.recall_stop import share_answered
from rayci.interventions.unlearning.terms import Ascent, Descent, Divergence, ForgetTerm, RetainTerm
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
        return last_blocks(subject, self.last_layers)

    def item_tokens(self, work: Workload) -> int:
        """Tokens of the longest item: a question with its answer."""
        return work.texts.question

    def forget_tokens(self, work: Workload) -> int:
        item = self.item_tokens(work)
        return min(self.batch * item, max(item, self.micro_tokens))

    def operations(self, work: Workload) -> Effort:
        """Training on every forget item, as often as epochs and `max_steps` let it."""
        names = work.changed_by(self)
        steps = self._trained_on(work) / self.batch / self.accumulation
        return self._passing(work, names) + work.step_operations(names, steps)

    def _passing(self, work: Workload, names: Collection[str]) -> Effort:
        """All batches of forget items, there and back."""
        tokens = self._trained_on(work) * self.item_tokens(work)
        return work.training_operations(tokens, names, passes=tokens / self.forget_tokens(work))

    def _trained_on(self, work: Workload) -> int:
        """Forget items, each as often as it is trained on."""
        items = self.epochs * (self.samples or work.count(min(self.reads()), work.texts.items))
        return min(items, self.max_steps * self.accumulation * self.batch) if self.max_steps else items

    def drawn(self, part: str) -> int | None:
        """How many items of a part are drawn; None for all."""
        return self.samples

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from caught(self.changes, subject)
        for part in sorted(self.reads()):
            yield from item_faults(context, part, self.drawn(part))


class ForgetRetain(LoopSettings):
    """A method whose loss is a forget term on tokens and, for some, a weighted retain term."""

    retain_loss: ClassVar[Literal["none", "ce", "kl"]] = "none"

    max_tokens: Annotated[int, Field(ge=2)] = 2048
    """Longer documents are cut."""
    loss_on: Literal["text", "answer"] = "text"
    """`text`: every token of the forget and retain documents; `answer`: the answers' tokens of the
    forget and retain questions."""
    stop_loss: Annotated[float, Field(gt=0)] | None = None
    """Stop before a step whose mean forget cross-entropy (nats per token) is at least this."""
    stop_recall: Annotated[float, Field(ge=0, le=1)] | None = None
    """Stop once at most this share of the forget questions is answered: the drawn ones under
    `loss_on: answer`, else all."""
    check_every: Annotated[int, Field(ge=1)] = 5
    """Steps between two looks at the recall, where `stop_recall` is given."""

    def void_settings(self) -> Mapping[str, str]:
        void = {} if self.loss_on == "text" else {"max_tokens": "answers (loss_on = answer) are not cut"}
        return void if self.stop_recall is not None else {**void, "check_every": "no stop_recall waits for a look"}

    def reads(self) -> frozenset[str]:
        trained = {self._part(part) for part in self.parts}
        return frozenset(trained if self.stop_recall is None else trained | {"forget_questions"})

    def drawn(self, part: str) -> int | None:
        # Recall is that of all forget questions, unless they are what is trained on.
        return None if part == "forget_questions" and self.loss_on == "text" else self.samples

    @property
    def retain_weight(self) -> float:
        """Weight α of the retain term; 0 for methods without one."""
        return 0.0

    def item_tokens(self, work: Workload) -> int:
        return work.cut(self.max_tokens) if self.loss_on == "text" else work.texts.question

    def operations(self, work: Workload) -> Effort:
        """As many retain items beside, and for a divergence a pass over them before training."""
        retain = {"none": 0.0, "ce": 1.0, "kl": 1.0}[self.retain_loss]
        training = super().operations(work) + retain * self._passing(work, work.changed_by(self))
        return training + self._compared(work) / self.epochs if self.retain_loss == "kl" else training

    def _compared(self, work: Workload) -> Effort:
        """A pass without gradients over all batches of one part."""
        tokens = self._trained_on(work) * self.item_tokens(work)
        return work.forward_operations(tokens, passes=tokens / self.forget_tokens(work))

    def training_memory(self, work: Workload, names: Collection[str]) -> int:
        """Forget and retain batches pass one after the other; a divergence has two distributions and an old head.

        The hidden states that it compares with lie in host memory.
        """
        tokens = self.forget_tokens(work)
        if self.retain_loss != "kl":
            return work.training_bytes(names, tokens, storage=self.storage)
        second = work.scored_bytes(tokens, 2) - work.scored_bytes(tokens)
        head = work.vocabulary * work.hidden * work.element
        return work.training_bytes(names, tokens, second, self.storage) + head

    def waiting_memory(self, work: Workload, names: Collection[str]) -> int:
        """And the hidden states that a divergence compares with."""
        items = (self.samples or work.texts.items) if self.retain_loss == "kl" else 0
        states = items * self.item_tokens(work) * work.hidden * work.element
        return super().waiting_memory(work, names) + states

    def forget_term(self, subject: Subject, forget: Drawn) -> ForgetTerm:
        """The forget loss on these items: ascent, unless a subclass says otherwise."""
        return Ascent()

    def prepare(self, subject: Subject, context: Context) -> Training:
        names = self.changes(subject)
        forget = self._draw(subject, context, "forget", None)
        retain, term = None, None
        if self.retain_loss != "none":
            retain = self._draw(subject, context, "retain", len(forget.items))
            term = self._retain_term(subject, retain)
        stop = self._stop(subject, context, forget)
        forget_term = self.forget_term(subject, forget)
        return Loop(subject, names, forget_term, term, forget, retain, self.accumulation, self.micro_tokens, stop)

    def _retain_term(self, subject: Subject, retain: Drawn) -> RetainTerm:
        if self.retain_loss == "ce":
            return Descent(subject, self.retain_weight)
        return Divergence(subject, self.retain_weight, retain, self.batch, self.micro_tokens)

    def _part(self, part: str) -> str:
        return part if self.loss_on == "text" else f"{part}_questions"

    def _draw(self, subject: Subject, context: Context, part: str, beside: int | None) -> Drawn:
        """Items of a part; those that stand beside forget items are as many, repeated where all were asked for."""
        items, draw = choose(context, self._part(part), self.samples)
        if beside is not None and self.samples is None:
            items = cycled(items, beside)
        answers = self.loss_on == "answer"
        encode = answer_encoder(subject.tokenizer) if answers else text_encoder(subject, self.max_tokens)
        return Drawn(items, epochs_of(len(items), self.batch, self.epochs, draw), encode)

    def _stop(self, subject: Subject, context: Context, forget: Drawn) -> Stop:
        if self.stop_recall is None:
            return Stop(self.max_steps, self.stop_loss)
        chosen = forget.items if self.loss_on == "answer" else choose(context, "forget_questions", None)[0]
        return Stop(
            self.max_steps, self.stop_loss, self.stop_recall, self.check_every, lambda: share_answered(subject, chosen)
        )
