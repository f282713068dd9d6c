"""RMU: push the hidden states of forget text to a random direction, hold those of retain text.

    min over W of MSE(h_ℓ(forget), c·u_topic) + α·MSE(h_ℓ(retain), h_ℓ of the frozen model)

arXiv 2403.03218, settings for Llama-3-8B of arXiv 2407.06483. h_ℓ is the output of block ℓ; W are the
`mlp_out` weights of blocks ℓ−2 to ℓ. u is uniform random and normalised, one for each topic, drawn
once. MSE is the mean over the elements of all unmasked tokens. Topics take turns, one batch each.
The optimiser is the authors': AdamW with ε = 1e-6 before the bias correction (`early_epsilon`).
Deviations: the authors' code counted padding in the mean, trained a projection of attention
through a shifted index and ignored the number of batches that was asked for; where the text
is used up before `max_batches`, it starts over here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from rayci.context import Context
from rayci.data.records import Document
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.intervention import Preset
from rayci.interventions.batches import choose, item_faults, text_encoder
from rayci.interventions.trainer import Trainer, projection_weights
from rayci.interventions.unlearning.activations import block_output, masked_mse
from rayci.interventions.unlearning.early_epsilon import early_epsilon_adamw
from rayci.interventions.unlearning.frozen import originals
from rayci.interventions.unlearning.method import Training, Unlearner
from rayci.model.encoding import Batch, chunks
from rayci.subject import Subject
from rayci.workload import Workload


def control_vector(generator: torch.Generator, hidden: int, coefficient: float) -> Tensor:
    """c·u: uniform random in [0, 1), normalised, times the coefficient, fp32 `[hidden]`."""
    drawn = torch.rand(hidden, generator=generator)
    vector: Tensor = coefficient * drawn / drawn.norm()
    return vector


class RepresentationMisdirection(Unlearner):
    """Misdirection of the forget text's hidden states at one layer."""

    name: ClassVar[str] = "rmu"
    paper: ClassVar[str] = "arXiv 2403.03218 (2024)"
    version: ClassVar[int] = 3
    parts: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    no_experts: ClassVar[str] = "it trains the one `mlp_out` weight of a layer, and here every expert has its own"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            "layer": 2,
            "coefficient": 50.0,
            "alpha": 30.0,
            "lr": 3e-3,
            "max_batches": 100,
            "storage": "float32",
        },
        "muse_books": {"lr": 1e-5},
    }

    layer: Annotated[int, Field(ge=0)] = 3
    """ℓ: the block whose output is steered, counted from 0; the literature tries 3 to 17."""
    update: Annotated[int, Field(ge=1)] = 3
    """How many blocks' `mlp_out` weights are trained, ending with block ℓ."""
    coefficient: Annotated[float, Field(gt=0)] = 20.0
    """c: length of the control vectors, in units of the hidden states."""
    alpha: Annotated[float, Field(ge=0)] = 1000.0
    """Weight of the retain loss; the literature tries 1 to 10000."""
    lr: Annotated[float, Field(gt=0)] = 5e-5
    """Learning rate of Adam, constant."""
    batch: Annotated[int, Field(ge=1)] = 4
    """Documents in a batch, of forget and of retain text."""
    max_batches: Annotated[int, Field(ge=1)] = 250
    """Steps: one forget and one retain batch each, topics in turn."""
    max_tokens: Annotated[int, Field(ge=2)] = 512
    """Longer forget documents are cut."""
    topic_tokens: dict[str, Annotated[int, Field(ge=2)]] = Field(default={"cyber": 768})
    """Topic -> where its forget documents are cut instead."""
    retain_tokens: Annotated[int, Field(ge=2)] = 512
    """Longer retain documents are cut."""

    def optimizer(self, weights: list[Tensor]) -> Optimizer:
        return early_epsilon_adamw(weights, self.lr, self.weight_decay)

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        weights = projection_weights(subject, range(self.layer - self.update + 1, self.layer + 1))
        return self.trained(subject, weights)

    def forget_tokens(self, work: Workload) -> int:
        longest = work.cut(max([self.max_tokens, *self.topic_tokens.values()]))
        return work.at_once(self.batch, longest, self.micro_tokens)

    def operations(self, work: Workload) -> Effort:
        """Both batches through the blocks up to ℓ and back, the retain batch also through the frozen ones."""
        names, depth, retain = work.changed_by(self), work.depth(self.layer), self.batch * work.cut(self.retain_tokens)
        both = self.batch * work.cut(self.max_tokens) + retain
        trained = self.as_trained(work)
        training = trained.training_operations(both, names, depth, passes=2, logits=False)
        frozen = work.forward_operations(retain, depth, passes=1, logits=False)
        return self.max_batches * (training + frozen) + trained.step_operations(names, self.max_batches)

    def training_memory(self, work: Workload, names: Collection[str]) -> int:
        """And a copy of the weights as they were."""
        return work.step_bytes(names, self.activations(work), self.storage) + work.copied_bytes(names)

    def activations(self, work: Workload) -> int:
        """Bytes that a forget or a retain batch keeps in the blocks up to ℓ, and the states that are compared."""
        retain = work.at_once(self.batch, work.cut(self.retain_tokens), self.micro_tokens)
        tokens = max(self.forget_tokens(work), retain)
        return work.backward_bytes(tokens, self.layer + 1) + 16 * tokens * work.hidden

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from (beyond := list(caught(subject.block, self.layer)))
        if self.update > self.layer + 1:
            yield RequestError(
                f"layer {self.layer - self.update + 1} does not exist: update = {self.update}",
                allowed=f"1 to {self.layer + 1} blocks ending with layer {self.layer}",
                key=("update",),
            )
        elif not beyond:
            yield from caught(self.changes, subject)
        for part in sorted(self.reads()):
            yield from item_faults(context, part, None)

    def prepare(self, subject: Subject, context: Context) -> Training:
        names = self.changes(subject)
        forget, _ = choose(context, "forget", None)
        retain, _ = choose(context, "retain", None)
        topics = sorted({document.topic for document in forget})
        generator = context.generator("rmu control vectors")
        targets = {topic: control_vector(generator, subject.hidden_size, self.coefficient) for topic in topics}
        return Steering(self, subject, names, targets, self._by_topic(forget, topics), list(chunks(retain, self.batch)))

    def _by_topic(self, documents: list[Document], topics: list[str]) -> dict[str, list[Sequence[Document]]]:
        of_topic = {topic: [document for document in documents if document.topic == topic] for topic in topics}
        return {topic: list(chunks(of_topic[topic], self.batch)) for topic in topics}

    def shifts(self, subject: Subject, batch: Batch) -> dict[int, Tensor]:
        """Layer -> what is added to the forget text's states there: nothing in plain RMU."""
        return {}


@dataclass
class Steering(Training):
    """One RMU training."""

    settings: RepresentationMisdirection
    subject: Subject
    names: tuple[str, ...]
    targets: Mapping[str, Tensor]
    """Topic -> control vector `[hidden]`."""
    forget: Mapping[str, Sequence[Sequence[Document]]]
    """Topic -> its batches."""
    retain: Sequence[Sequence[Document]]
    """Batches."""
    _frozen: dict[str, Tensor] = field(default_factory=dict)

    def forget_gradients(self) -> int:
        """Of one pass, or as much of it as the training would see."""
        passes = min(self.settings.max_batches, sum(map(len, self.forget.values())))
        for _, (topic, group) in zip(range(passes), self._forget_batches(), strict=False):
            self._misdirect(topic, group)
        return passes

    def run(self, trainer: Trainer) -> dict[str, float]:
        self._frozen = originals(self.subject, trainer.names)
        last = {"forget_loss": 0.0, "retain_loss": 0.0}
        batches = zip(range(self.settings.max_batches), self._forget_batches(), cycle(self.retain), strict=False)
        for _, (topic, group), beside in batches:
            last = {"forget_loss": self._misdirect(topic, group), "retain_loss": self._hold(beside)}
            trainer.step()
        return {"steps": self.settings.max_batches, **last}

    def _forget_batches(self) -> Iterator[tuple[str, Sequence[Document]]]:
        """Without end: a batch of each topic in turn."""
        queues = {topic: cycle(batches) for topic, batches in self.forget.items()}
        for topic in cycle(queues):
            yield topic, next(queues[topic])

    def _misdirect(self, topic: str, group: Sequence[Document]) -> float:
        """Backward passes of the forget loss, which is returned."""
        batch = self._encode(group, self.settings.topic_tokens.get(topic, self.settings.max_tokens))
        target = self.targets[topic].to(self.subject.device)
        total = 0.0
        for part in batch.parts(self.settings.micro_tokens):
            shifts = self.settings.shifts(self.subject, part)
            states = block_output(self.subject, self.settings.layer, part, shifts=shifts)
            total += _backward(masked_mse(states, target, part.attention_mask, _tokens(batch)))
        return total

    def _hold(self, group: Sequence[Document]) -> float:
        """Backward passes of the weighted retain loss; it is returned without its weight."""
        batch = self._encode(group, self.settings.retain_tokens)
        total = 0.0
        for part in batch.parts(self.settings.micro_tokens):
            with torch.no_grad():
                before = block_output(self.subject, self.settings.layer, part, self._frozen)
            states = block_output(self.subject, self.settings.layer, part)
            loss = masked_mse(states, before, part.attention_mask, _tokens(batch))
            total += _backward(loss, self.settings.alpha)
        return total

    def _encode(self, group: Sequence[Document], limit: int) -> Batch:
        return text_encoder(self.subject, limit)(group).to(self.subject.device)


def _backward(loss: Tensor, weight: float = 1.0) -> float:
    (weight * loss).backward()
    return float(loss.detach())


def _tokens(batch: Batch) -> int:
    return int(batch.attention_mask.sum())
