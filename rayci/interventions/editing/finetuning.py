"""FT: fine-tune a few MLP projections on the edit batch, as in arXiv 2407.06483, appendix B.

    min over W of  −mean over edits of mean over its target's tokens of log p(token | prompt, tokens before)

Adam without weight decay, full batch, until that loss < `stop_loss`. `max_change` gives FT-L
(arXiv 2012.00363): after every step W stays within ±ε of where it began. Deviation: Adam's moments
and its arithmetic are fp32, where the published run held them in bf16 like the weights; `storage`
rounds the weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.intervention import Intervention, Preset, Receipt
from rayci.interventions.editing.targets import empty_targets, encoded_edits
from rayci.interventions.predictions import predict
from rayci.interventions.trainer import MICRO_TOKENS, MicroTokens, Trainer, adam, projection_weights
from rayci.kinds import Kind
from rayci.model.encoding import Batch
from rayci.model.step_memory import Storage
from rayci.settings import OfEditBatch
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
    version: ClassVar[int] = 2
    kind: ClassVar[Kind] = Kind.EDIT
    needs: ClassVar[frozenset[str]] = frozenset({"edits"})
    seeded: ClassVar[bool] = False
    no_experts: ClassVar[str] = "it trains the one `mlp_out` weight of a layer, and here every expert has its own"
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {"layers": (1, 2), "lr": 2.5e-3, "storage": "float32"}}

    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (4, 5, 6, 7, 8)
    """Decoder blocks whose `mlp_out` weight is trained, counted from 0."""
    lr: Annotated[float, Field(gt=0)] = 1e-5
    """Learning rate of Adam; no weight decay."""
    steps: Annotated[int, Field(ge=1)] = 25
    """Most optimiser steps; each sees the whole batch."""
    stop_loss: Annotated[float, Field(ge=0)] = 1e-2
    """Stop before a step whose loss (nats per target token) is below this."""
    max_change: Annotated[float, Field(gt=0)] | None = None
    """Radius of the L∞ ball around the starting weights (FT-L); none by default."""
    storage: Storage = "bfloat16"
    """Precision of the weights between steps; published: a bf16 model without fp32 masters."""
    micro_tokens: MicroTokens = MICRO_TOKENS
    """Most tokens, padding included, of the batch that go forward and back at a time; one edit does in any case.
    The gradient is that of the batch."""

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        return tuple(projection_weights(subject, self.layers))

    def operations(self, work: Workload) -> Effort:
        names = work.changed_by(self)
        training = work.training_operations(work.tokens("edits"), names, passes=1)
        return self.steps * training + work.step_operations(names, self.steps)

    def memory(self, work: Workload) -> int:
        names = work.changed_by(self)
        tokens, targets = work.edit_passes(self.micro_tokens)
        passing = work.backward_bytes(tokens, work.blocks_above(names)) + work.scored_bytes(targets)
        start = work.element * work.most_elements(names) + 12 * work.largest if self.max_change else 0
        return work.step_bytes(names, passing, self.storage) + start

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from caught(self.changes, subject)
        yield from empty_targets(context)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        names = self.changes(subject)
        batch = encoded_edits(subject, context)
        taken, last = 0, float("inf")
        with Trainer(subject, names, lambda weights: adam(weights, self.lr), self.storage) as trainer:
            after = self._projection(subject) if self.max_change else None
            for _ in range(self.steps):
                last = self._backward(subject, batch)
                if last < self.stop_loss:
                    break
                trainer.step(after)
                taken += 1
        return trainer.receipt(steps=taken, loss=last, edits=len(context.edits))

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
