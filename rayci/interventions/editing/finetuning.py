"""FT: fine-tune a few MLP projections on the edit batch, as in arXiv 2407.06483, appendix B.

    min over W of  −mean over edits of mean over its target's tokens of log p(token | prompt, tokens before)

Adam without weight decay, full batch, until that loss < `stop_loss`. `max_change` gives FT-L
(arXiv 2012.00363): after every step W stays within ±ε of where it began. Deviation: Adam's moments
and its arithmetic are fp32, where the published run held them in bf16 like the weights; `storage`
rounds the weights alone.

With `minibatch` the edits are trained breadth-first, some at a time over several `epochs`, shuffled from pass to pass:
what makes fine-tuning edit well (arXiv 2509.22072), where one edit after the other is trained to the end elsewhere. A
minibatch whose loss is below `stop_loss` takes no step, and a pass whose mean is ends the training, as in the authors'
code. Its settings for Llama-3-8B are the preset `locft`: one layer, chosen for the model, of a batch of thousands of
edits. Deviation: they train an end-of-text token after each target, here the target alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.intervention import Intervention, Preset, Receipt
from rayci.interventions.batches import Order, epochs_of
from rayci.interventions.editing.targets import empty_targets, encoded_edits
from rayci.interventions.predictions import predict
from rayci.interventions.trainer import MICRO_TOKENS, MicroTokens, Trainer, adam, projection_weights
from rayci.kinds import Kind
from rayci.model.encoding import Batch
from rayci.model.step_memory import Storage
from rayci.settings import LATER, OfEditBatch
from rayci.subject import Subject
from rayci.workload import Workload


@torch.no_grad()
def clamp_change(weights: Tensor, start: Tensor, radius: float) -> None:
    """Clamp every weight to within `radius` of its starting value, in place (L∞ ball)."""
    weights.copy_(torch.clamp(weights, start - radius, start + radius))


def item_cross_entropy(picked: Tensor, mask: Tensor) -> Tensor:
    """Mean over items of each item's mean negative log-likelihood over its labelled tokens, in nats.

    From the tokens' log-probabilities and their mask, `[items, tokens]`. A long target weighs as much as a short one;
    every item must have a labelled token.
    """
    return -(picked.sum(-1) / mask.sum(-1)).mean()


class FineTuning(OfEditBatch, Intervention):
    """Fine-tuning of `mlp_out` weights on the edits of one batch."""

    name: ClassVar[str] = "ft"
    paper: ClassVar[str] = "arXiv 2012.00363 (2020)"
    version: ClassVar[int] = 2
    kind: ClassVar[Kind] = Kind.EDIT
    needs: ClassVar[frozenset[str]] = frozenset({"edits"})
    no_experts: ClassVar[str] = "it trains the one `mlp_out` weight of a layer, and here every expert has its own"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {"layers": (1, 2), "lr": 2.5e-3, "storage": "float32"},
        "locft": {"layers": (22,), "lr": 5e-4, "minibatch": 100, "epochs": 25, "storage": "float32"},
    }

    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (4, 5, 6, 7, 8)
    """Decoder blocks whose `mlp_out` weight is trained, counted from 0."""
    lr: Annotated[float, Field(gt=0)] = 1e-5
    """Learning rate of Adam; no weight decay."""
    steps: Annotated[int, Field(ge=1)] = 25
    """Most optimiser steps; each sees the whole batch, or a minibatch of it."""
    stop_loss: Annotated[float, Field(ge=0)] = 1e-2
    """Stop before a step whose loss (nats per target token) is below this; of minibatches, after such a pass."""
    max_change: Annotated[float, Field(gt=0)] | None = None
    """Radius of the L∞ ball around the starting weights (FT-L); none by default."""
    storage: Storage = "bfloat16"
    """Precision of the weights between steps; published: a bf16 model without fp32 masters."""
    micro_tokens: MicroTokens = MICRO_TOKENS
    """Most tokens, padding included, of the batch that go forward and back at a time; one edit does in any case.
    The gradient is that of the batch."""
    minibatch: Annotated[Annotated[int, Field(ge=1)] | None, LATER] = None
    """Edits that a step sees; all of the batch for None."""
    epochs: Annotated[Annotated[int, Field(ge=1)] | None, LATER] = None
    """Most passes over the batch, in place of `steps`."""

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        """Only the order of minibatches is drawn."""
        return self.minibatch is not None

    def void_settings(self) -> Mapping[str, str]:
        return {} if self.epochs is None else {"steps": f"epochs = {self.epochs} say how long it trains"}

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        return tuple(projection_weights(subject, self.layers))

    def operations(self, work: Workload) -> Effort:
        names, a_pass = work.changed_by(self), self._steps_of_a_pass(work.edits)
        steps = self.steps if self.epochs is None else self.epochs * a_pass
        training = work.training_operations(work.tokens("edits") / a_pass, names, passes=1)
        return steps * training + work.step_operations(names, steps)

    def memory(self, work: Workload) -> int:
        names = work.changed_by(self)
        once = self.micro_tokens if self.minibatch is None else self.minibatch * work.texts.edit
        tokens, targets = work.edit_passes(min(once, self.micro_tokens))
        passing = work.backward_bytes(tokens, work.blocks_above(names)) + work.scored_bytes(targets)
        start = work.element * work.most_elements(names) + 12 * work.largest if self.max_change else 0
        return work.step_bytes(names, passing, self.storage) + start

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from caught(self.changes, subject)
        yield from empty_targets(context)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        names, edits = self.changes(subject), context.edits
        # The whole batch is one and the same in every pass: it is encoded once.
        batch = lru_cache(maxsize=1)(lambda places: encoded_edits(subject, [edits[place] for place in places]))
        taken, mean = 0, float("inf")
        with Trainer(subject, names, lambda weights: adam(weights, self.lr), self.storage) as trainer:
            after = self._projection(subject) if self.max_change else None
            for groups in self._passes(len(edits), context):
                losses = [self._fit(subject, trainer, batch(places), after) for places in groups]
                taken += sum(loss >= self.stop_loss for loss in losses)
                seen = sum(map(len, groups))
                mean = sum(len(places) / seen * loss for places, loss in zip(groups, losses, strict=True))
                if mean < self.stop_loss:
                    break
        return trainer.receipt(steps=taken, loss=mean, edits=len(edits))

    def _steps_of_a_pass(self, edits: int) -> int:
        return 1 if self.minibatch is None else -(-edits // self.minibatch)

    def _passes(self, edits: int, context: Context) -> tuple[Order, ...]:
        """The batches of every pass, as places among the edits; so many passes that there are `steps` of them."""
        a_pass = self._steps_of_a_pass(edits)
        passes = -(-self.steps // a_pass) if self.epochs is None else self.epochs
        if self.minibatch is None:
            return ((tuple(range(edits)),),) * passes
        orders = epochs_of(edits, self.minibatch, passes, context.random("ft minibatches"))
        left = a_pass if self.epochs is not None else self.steps - a_pass * (passes - 1)
        return (*orders[:-1], orders[-1][:left])

    def _fit(
        self, subject: Subject, trainer: Trainer, batch: Batch, after: Callable[[str, Tensor], None] | None
    ) -> float:
        """A step, unless the loss, which is returned, is low enough."""
        loss = self._backward(subject, batch)
        if loss < self.stop_loss:
            trainer.skip()
        else:
            trainer.step(after)
        return loss

    def _backward(self, subject: Subject, batch: Batch) -> float:
        """Gradients of the loss, which is returned."""
        total = 0.0
        for part in batch.parts(self.micro_tokens):
            found = predict(subject, part)
            loss = item_cross_entropy(found.log_probs(), found.mask) * (len(part.labels) / len(batch.labels))
            loss.backward()
            total += float(loss.detach())
        return total

    def _projection(self, subject: Subject) -> Callable[[str, Tensor], None]:
        """What holds each weight near where it is now."""
        radius = self.max_change or 0.0
        start = {name: value.detach().clone() for name, value in subject.parameters_of(self.changes(subject)).items()}
        return lambda name, weights: clamp_change(weights, start[name].to(weights), radius)
