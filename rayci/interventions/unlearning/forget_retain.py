"""Settings of the methods that are a forget term and, for most, a weighted retain term: the rows of `terms`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.effort import Effort
from rayci.interventions.batches import Drawn, LossOn, choose, cycled, encoder_of, epochs_of, items_of
from rayci.interventions.unlearning.frozen import Before, Distributions
from rayci.interventions.unlearning.loop import Loop, Stop
from rayci.interventions.unlearning.loop_settings import LoopSettings
from rayci.interventions.unlearning.recall_stop import share_answered
from rayci.interventions.unlearning.terms import RETAIN, Retain, Term
from rayci.subject import Subject
from rayci.workload import Workload


class ForgetRetain(LoopSettings):
    """A method whose loss is a forget term on tokens and, for some, a weighted retain term."""

    retain_term: ClassVar[Term[Any] | None] = None

    max_tokens: Annotated[int, Field(ge=2)] = 2048
    """Longer documents are cut."""
    loss_on: LossOn = "text"
    """`text`: every token of the forget and retain documents; `answer`: the answers' tokens of the
    forget and retain questions."""
    stop_loss: Annotated[float, Field(gt=0)] | None = None
    """Stop before a step whose mean forget cross-entropy (nats per token) is at least this."""
    stop_recall: Annotated[float, Field(ge=0, le=1)] | None = None
    """Stop once at most this share of the forget questions is answered: the drawn ones under
    `loss_on: answer`, else all."""
    check_every: Annotated[int, Field(ge=1)] = 5
    """Steps between two looks at the recall, where `stop_recall` is given."""

    @property
    def forgotten(self) -> str:
        return items_of("forget", self.loss_on)

    @property
    def retained(self) -> Term[Any] | None:
        """The retain term in force: that of the row, unless a setting chooses it."""
        return self.retain_term

    @property
    def distributions(self) -> int:
        return 2 if self.forget_term.before is Distributions else 1

    @property
    def retain_weight(self) -> float:
        """Weight α of the retain term; 0 for methods without one."""
        return 0.0

    def void_settings(self) -> Mapping[str, str]:
        void = dict(super().void_settings())
        if self.loss_on == "answer":
            void["max_tokens"] = "answers (loss_on = answer) are not cut"
        if self.stop_recall is None:
            void["check_every"] = "no stop_recall waits for a look"
        return void

    def reads(self) -> frozenset[str]:
        trained = {self.forgotten} | ({items_of("retain", self.loss_on)} if self.retained else set())
        return frozenset(trained if self.stop_recall is None else trained | {"forget_questions"})

    def count_of(self, part: str) -> int | None:
        # Recall is that of all forget questions, unless they are what is trained on.
        return None if part == "forget_questions" and self.loss_on == "text" else self.samples

    def item_tokens(self, work: Workload) -> int:
        return work.cut(self.max_tokens) if self.loss_on == "text" else work.texts.question

    def operations(self, work: Workload) -> Effort:
        """As many retain items beside, and before training a pass over the items of each term that compares."""
        training = super().operations(work)
        if self.retained:
            training += self._passing(work, work.changed_by(self))
        tokens = self._trained_on(work) / self.epochs * self.item_tokens(work)
        pass_over = work.forward_operations(tokens, passes=tokens / self.forget_tokens(work))
        return training + sum(before is not Before for before in self._compared()) * pass_over

    def training_memory(self, work: Workload, names: Collection[str]) -> int:
        """Forget and retain batches pass one after the other; who compares distributions has two, and an old head.

        The hidden states that are compared with lie in host memory.
        """
        tokens, heads = self.forget_tokens(work), self._compared().count(Distributions)
        second = work.scored_bytes(tokens, 2) - work.scored_bytes(tokens) if heads else 0
        head = work.vocabulary * work.hidden * work.element
        return work.training_bytes(names, tokens, second, self.storage) + heads * head

    def waiting_memory(self, work: Workload, names: Collection[str]) -> int:
        """And the hidden states that distributions are made of."""
        items = (self.samples or work.texts.items) * self._compared().count(Distributions)
        return super().waiting_memory(work, names) + items * self.item_tokens(work) * work.hidden * work.element

    def _compared(self) -> list[type[Before]]:
        """What the terms remember of the model before training."""
        return [term.before for term in (self.forget_term, self.retained) if term]

    def prepare(self, subject: Subject, context: Context) -> Loop:
        drawn = self._draw(subject, context, "forget", None)
        forget, retain = self.side(self.forget_term, subject, drawn), None
        if self.retained:
            beside = self._draw(subject, context, "retain", len(drawn.items))
            retain = self.side(self.retained, subject, beside, self.retain_weight)
        return Loop(self.changes(subject), forget, retain, self.accumulation, self._stop(subject, context, drawn))

    def _draw(self, subject: Subject, context: Context, part: str, beside: int | None) -> Drawn:
        """Items of a part; those that stand beside forget items are as many, repeated where all were asked for."""
        items, draw = choose(context, items_of(part, self.loss_on), self.samples)
        if beside is not None and self.samples is None:
            items = cycled(items, beside)
        passes = epochs_of(len(items), self.batch, self.epochs, draw)
        return Drawn(items, passes, encoder_of(subject, self.loss_on, self.max_tokens))

    def _stop(self, subject: Subject, context: Context, forget: Drawn) -> Stop:
        if self.stop_recall is None:
            return Stop(self.max_steps, self.stop_loss)
        chosen = forget.items if self.loss_on == "answer" else choose(context, "forget_questions", None)[0]
        return Stop(
            self.max_steps, self.stop_loss, self.stop_recall, self.check_every, lambda: share_answered(subject, chosen)
        )


class WithRetain(ForgetRetain):
    """A row with a retain term."""

    parts: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})

    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the retain loss; the grid of the literature: 2, 5, 10, 100, 300."""

    @property
    def retain_weight(self) -> float:
        return self.alpha


class ChosenRetain(WithRetain):
    """A row whose retain term is a setting."""

    retain: Retain = "ce"
    """Retain term: `none`; `ce`, cross-entropy of the retain items; `kl`, divergence from the model before training."""

    @property
    def retained(self) -> Term[Any] | None:
        return RETAIN[self.retain]

    def void_settings(self) -> Mapping[str, str]:
        void = dict(super().void_settings())
        if self.retain == "none":
            void["alpha"] = "there is no retain loss (retain = none)"
        return void
