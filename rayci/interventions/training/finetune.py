"""Fine-tuning: train the model further on text or on answers to questions; relearning is its use as an attack.

    min CE(items), the mean over the labelled tokens of a batch;  AdamW at rates lr · schedule(step)

Defaults of `finetune` are those of Stanford Alpaca (2023), which most recipes of supervised fine-tuning began with:
batches of 128, 2e-5, 3 % of warm-up, then half a cosine, no weight decay, 512 tokens, masters in fp32, transformers'
largest gradient norm of 1; of its 3 epochs one is trained here, γ says how many. `relearn` is the attack of
arXiv 2506.12618 (OpenUnlearning) and 2605.24614: one epoch at 2e-5 on what was to be forgotten; batches of 16, 512
tokens and a bf16 model without masters are those of the latter's code.

`epochs` may be parts of a pass: .25 stops after a quarter of its steps, rounded up. Items and their order are
the first of those of any longer training. The schedule spans the training that was asked for, as
transformers' `Trainer` has it: under `linear` and `cosine` each γ is a training of its own, whose rate falls to 0.
Under `constant` without warm-up a shorter training is the beginning of a longer one, so that a curve over γ shows one
training; this is `relearn`'s default, where the code of arXiv 2605.24614 lets the rate fall along a line.

On the testbed relearning brings forgotten facts back by degrees, and unlearners differ; recall of the forget questions
after `relearn` of .5, 1, 2 and 4 passes, 0 to .01 before it:

    npo_klr .02 .51 .93 .99   gd .01 .16 .78 .88   rmu .04 .17 .67 .93   ga_klr .00 .04 .86 .99

As many passes of `finetune` over other text bring nothing back and leave what is known alone, at four times the rate.

Deviations from `Trainer`: batches of a step count alike, however many tokens they have; no dropout; no token that ends
the text is added to answers; texts are not packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.intervention import Preset, Receipt, Strength
from rayci.interventions.batches import (
    Drawn,
    LossOn,
    choose,
    encoder_of,
    epochs_of,
    item_faults,
    items_of,
    length_faults,
)
from rayci.interventions.parametrisation import Parametrised
from rayci.interventions.trainer import last_blocks
from rayci.interventions.training.fitting import Fitting, steps_of
from rayci.interventions.training.learning_rate import Schedule, rates
from rayci.kinds import Kind
from rayci.model.step_memory import Storage
from rayci.settings import Needs
from rayci.subject import Subject
from rayci.workload import Workload

RELEARN: Mapping[str, Any] = {
    "on": "forget",
    "loss_on": "text",
    "epochs": 1.0,
    "lr": 2e-5,
    "batch": 16,
    "schedule": "constant",
    "warmup": 0.0,
    "storage": "bfloat16",
}
"""The relearning attack: a preset of `finetune`, and the defaults of `relearn`."""
_TESTBED: Mapping[str, Any] = {"lr": 2e-4, "batch": 16, "schedule": "constant", "warmup": 0.0, "storage": "float32"}
"""Twelve steps a pass. `relearn` takes a quarter of the rate: what was forgotten comes back over several passes."""


class Finetune(Parametrised):
    """Plain fine-tuning on a part of the data."""

    name: ClassVar[str] = "finetune"
    paper: ClassVar[str] = "Stanford Alpaca (2023)"
    kind: ClassVar[Kind] = Kind.TRAIN
    strength: ClassVar[Strength | None] = Strength("epochs", "passes over the items", 0, 100, (0.25, 0.5, 1, 2, 4))
    parts: ClassVar[frozenset[str]] = frozenset({"finetune"})
    """Parts of the data that are read by default."""
    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": _TESTBED, "relearn": RELEARN}

    epochs: Annotated[float, Field(gt=0, le=100)] = 1.0
    """γ: passes over the items; parts of a pass are rounded up to a whole step."""
    on: Literal["finetune", "forget", "retain"] = "finetune"
    """Which part of the data is learned: fresh text, what was to be forgotten, or what was to be kept."""
    loss_on: LossOn = "text"
    """Which tokens bear loss. `text`: every token of the part's documents; `answer`: the answers' tokens of the
    questions that go with it (`finetune_questions`)."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Items, drawn in turn from all topics; None takes all."""
    batch: Annotated[int, Field(ge=1)] = 128
    """Items in a batch."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are averaged for one step; `micro_tokens` is what saves memory."""
    max_tokens: Annotated[int, Field(ge=2)] = 512
    """Longer documents are cut."""
    last_layers: Annotated[int, Field(ge=1)] | None = None
    """How many decoder blocks are trained, counted from the end; None trains every parameter."""
    lr: Annotated[float, Field(gt=0)] = 2e-5
    """Highest learning rate of AdamW."""
    schedule: Schedule = "cosine"
    """How the rate goes on after the warm-up: `constant`, or to 0 along a line or half a cosine."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps in which the rate rises from 0, rounded down."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of a step's gradients over all trained parameters, longer ones are scaled down; None = no limit."""
    storage: Storage = "float32"
    """Precision of the weights between steps."""

    def void_settings(self) -> Mapping[str, str]:
        cut = {"max_tokens": "answers (loss_on = answer) are not cut"} if self.loss_on == "answer" else {}
        return {**super().void_settings(), **cut}

    @property
    def part(self) -> str:
        """The part of the data that is learned."""
        return items_of(self.on, self.loss_on)

    def reads(self) -> frozenset[str]:
        """Parts of the data that these settings read."""
        return frozenset({self.part})

    def changes(self, subject: Subject) -> tuple[str, ...]:
        return self.trained(subject, last_blocks(subject, self.last_layers))

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from caught(self.changes, subject)
        yield from item_faults(context, self.part, self.samples)
        if self.loss_on == "answer":
            yield from length_faults(subject, context, self.part)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        fitting = self.prepare(subject, context)
        with self.trainer(subject, context, self.changes(subject)) as trainer:
            return trainer.receipt(**fitting.run(trainer))

    def prepare(self, subject: Subject, context: Context) -> Fitting:
        """The items drawn and the steps planned."""
        items, draw = choose(context, self.part, self.samples)
        passes = epochs_of(len(items), self.batch, ceil(self.epochs), draw)
        encode = encoder_of(subject, self.loss_on, self.max_tokens)
        steps = steps_of(passes, self.epochs, self.accumulation)
        at = tuple(self.lr * share for share in rates(self.schedule, len(steps), self.warmup))
        return Fitting(subject, Drawn(items, passes, encode), steps, at, self.micro_tokens)

    def operations(self, work: Workload) -> Effort:
        """There and back with every item, as often as it is learned, and a step for every few batches."""
        items = self.epochs * (self.samples or work.count(self.part))
        tokens = items * work.item_tokens(self.part, self.max_tokens)
        names, trained = work.changed_by(self), self.as_trained(work)
        passing = trained.training_operations(tokens, names, passes=tokens / self._at_once(work))
        return passing + trained.step_operations(names, items / self.batch / self.accumulation)

    def memory(self, work: Workload) -> int:
        return self.as_trained(work).training_bytes(work.changed_by(self), self._at_once(work), storage=self.storage)

    def host_memory(self, work: Workload) -> int:
        return self.as_trained(work).waiting_bytes(work.changed_by(self), self.storage)

    def _at_once(self, work: Workload) -> int:
        """Most tokens of a batch that go forward and back at a time."""
        return work.at_once(self.batch, work.item_tokens(self.part, self.max_tokens), self.micro_tokens)


class Relearn(Finetune):
    """The relearning attack: fine-tuning on the text that was to be forgotten."""

    name: ClassVar[str] = "relearn"
    paper: ClassVar[str] = "arXiv 2506.12618 (2025)"
    parts: ClassVar[frozenset[str]] = frozenset({"forget"})
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {**_TESTBED, "lr": 5e-5}}

    on: Literal["finetune", "forget", "retain"] = "forget"
    """Which part of the data is learned: what was to be forgotten, or, as a comparison, fresh text or what was kept."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Items in a batch."""
    schedule: Schedule = "constant"
    """How the rate goes on after the warm-up: `constant`, or to 0 along a line or half a cosine."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps in which the rate rises from 0, rounded down."""
    storage: Storage = "bfloat16"
    """Precision of the weights between steps."""
