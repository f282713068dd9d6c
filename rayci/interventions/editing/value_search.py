"""Step 3 of a closed-form editor: the hidden state z at the last edited block that makes the model say the target.

    z = h₀ + δ,  min over δ of  −mean log p(target | context) + f·KL + w·‖δ‖/‖h₀‖²,  ‖δ‖ ≤ c·‖h₀‖

δ is added to the block's output at the lookup token, in all contexts. Every edit has its own
δ, Adam state, clamp and stop, so a batch gives what the loop over edits gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rayci.interventions.activation_hooks import frozen
from rayci.interventions.editing.edit_contexts import Example
from rayci.interventions.editing.value_passes import Passes, Reading
from rayci.model.encoding import chunks
from rayci.subject import Subject

Divergence = Literal["edited_to_base", "base_to_edited"]
Measure = Literal["block", "mlp"]


@dataclass(frozen=True, slots=True)
class Search:
    """How z is searched; the fields are documented at `rayci.interventions.editing.closed_form.ClosedForm`."""

    passes: int
    lr: float
    clamp: float
    weight_decay: float
    kl_factor: float
    kl: Divergence
    stop_loss: float
    measure: Measure = "block"
    """Whose output h₀ is, against which ‖δ‖ is measured: the block's, or its MLP's."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the search found."""

    z: Tensor
    """fp32 `[edits, hidden]`."""
    start: Tensor
    """h₀, the block's output at the lookup token of the bare prompt, fp32 `[edits, hidden]`."""
    loss: Tensor
    """Loss of each edit at its last forward pass, nats, `[edits]`."""
    steps: Tensor
    """Adam steps of each edit, `[edits]`."""


def find_targets(subject: Subject, layer: int, examples: Sequence[Example], search: Search, batch: int) -> Targets:
    """z of every edit at the output of block `layer`, `batch` edits in one forward pass."""
    with frozen(subject.model):
        by_chunk = [_search(subject, layer, chunk, search) for chunk in chunks(examples, batch)]
    return joined(by_chunk)


def joined(parts: Sequence[Targets]) -> Targets:
    """What the search found for all edits, from what it found for parts of them, in order."""
    fields = ("z", "start", "loss", "steps")
    return Targets(*(torch.cat([getattr(targets, name) for targets in parts]) for name in fields))


def _search(subject: Subject, layer: int, examples: Sequence[Example], search: Search) -> Targets:
    passes = Passes(subject, layer, examples)
    start = passes.start
    measure = start if search.measure == "block" else passes.mlp
    deltas = [torch.zeros_like(row) for row in start]
    optimizer = torch.optim.Adam(deltas, lr=search.lr)  # a δ without gradient keeps its value and its state
    losses, steps = torch.zeros(len(examples)), torch.zeros(len(examples), dtype=torch.long)
    active, base = list(range(len(examples))), torch.empty(0)
    for turn in range(search.passes):
        delta = torch.stack([deltas[edit] for edit in active]).requires_grad_()
        reading = passes.read(active, delta)
        base = reading.essence.detach() if turn == 0 else base
        loss = _loss(reading, delta, measure[active], base[active], search)
        losses[active] = loss.detach().cpu()
        going = losses[active] >= search.stop_loss
        if turn == search.passes - 1 or not bool(going.any()):
            break
        (gradient,) = torch.autograd.grad(loss[going.to(loss.device)].sum(), delta)
        for each in deltas:
            each.grad = None
        for row, edit in enumerate(active):
            deltas[edit].grad = gradient[row] if going[row] else None
        optimizer.step()
        active = [edit for row, edit in enumerate(active) if going[row]]
        steps[active] += 1
        for edit in active:
            radius = search.clamp * measure[edit].norm()
            if deltas[edit].norm() > radius:
                deltas[edit].mul_(radius / deltas[edit].norm())
    return Targets(start + torch.stack(deltas), start, losses, steps)


def _loss(reading: Reading, delta: Tensor, measure: Tensor, base: Tensor, search: Search) -> Tensor:
    """Loss of each edit, `[edits]`."""
    edited = reading.essence
    if search.kl == "edited_to_base":
        kl = (edited.exp() * (edited - base)).sum(-1)
    else:
        kl = (base.exp() * (base - edited)).sum(-1)
    decay: Tensor = search.weight_decay * delta.norm(dim=1) / measure.norm(dim=1) ** 2
    return reading.target_loss + search.kl_factor * kl + decay
