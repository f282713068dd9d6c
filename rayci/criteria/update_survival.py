"""How much of a training survives a quantiser.

    share of the trained weights w for which code(w) ≠ code(w₀), w₀ the untouched weight, both on the quantiser's grid

A quantiser rounds to the same code what training moved by less than a step: that brings knowledge back
(arXiv 2410.16454, section 4). Trained weights are those of the linears that a step other than a compressor changed,
by its receipt; exact zeros that a pruner left are not among them. What a quantiser does before it rounds, AWQ's
scales, is done to the untouched weights too. GPTQ passes the error of a column on to later ones, and so moves codes
of its own: its share is compared with that of GPTQ alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.effort import Effort
from rayci.errors import Inapplicable
from rayci.intervention import Compressor, Receipt
from rayci.interventions.compression.quantiser import Quantiser
from rayci.item_values import Items
from rayci.kinds import UNIT_INTERVAL, Scale
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class UpdateSurvival(Criterion):
    """Share of the trained weights whose code is another one than that of the untouched weight."""

    name: ClassVar[str] = "update_survival"
    scale: ClassVar[Scale] = UNIT_INTERVAL
    item: ClassVar[str | None] = "linear"

    def operations(self, work: Workload) -> Effort:
        return work.pass_operations()

    def memory(self, work: Workload) -> int:
        """A second block, and codes of one linear."""
        return work.pass_bytes() + work.element * sum(rows * columns for rows, columns in work.linears) // work.blocks

    @torch.no_grad()
    def measure(self, subject: Subject, context: Context) -> Reading:
        quantiser, receipt = _last(subject)
        trained = _trained(subject)
        shares, sizes = [], []
        for name, now, then in _pairs(subject, trained):
            grid = quantiser.grid_in(receipt.kept, name, now.device)
            counted = now != 0 if subject.pruned else torch.ones_like(now, dtype=torch.bool)
            if size := int(counted.sum()):
                moved = int(((grid.codes(now) != grid.codes(then)) & counted).sum())
                shares.append(moved / size)
                sizes.append(float(size))
        items = Items(tuple(shares), tuple(sizes))
        return Reading(items.mean, int(sum(sizes)), items=items)


def _last(subject: Subject) -> tuple[Quantiser, Receipt]:
    last = subject.applied[-1] if subject.applied else None
    if last is None or not isinstance(last.intervention, Quantiser):
        raise Inapplicable("the last step is no quantiser")
    return last.intervention, last.receipt


def _trained(subject: Subject) -> set[str]:
    """Names of the parameters of linears that a step other than a compressor changed."""
    steps = (step for step in subject.applied if not isinstance(step.intervention, Compressor))
    trained = {name for step in steps for name in step.receipt.changed} & set(subject.weight_names())
    if not trained:
        raise Inapplicable("no linear was trained before it was quantised")
    return trained


def _pairs(subject: Subject, trained: set[str]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, present and untouched weight `[out, in]` of every trained linear."""
    for index, block in enumerate(subject.blocks):
        name = f"{subject.paths.blocks}.{index}"
        linears = {path: modules.linear(block, path) for group in subject.paths.groups(block) for path in group}
        wanted = [path for path, own in linears.items() if modules.parameter_name(f"{name}.{path}", own) in trained]
        if not wanted:
            continue
        with subject.placed(block):
            untouched = _untouched(subject, block, name)
            for path in wanted:
                now, then = (modules.weight(modules.linear(one, path)) for one in (block, untouched))
                yield f"{name}.{path}", now, then


def _untouched(subject: Subject, block: nn.Module, name: str) -> nn.Module:
    """A copy of a block with the untouched weights, up to where quantisers round."""
    own = copy.deepcopy(block)
    base = subject.base_of(f"{name}.{inner}" for inner, _ in own.named_parameters())
    for inner, value in own.named_parameters():
        value.copy_(base[f"{name}.{inner}"])
    for step in subject.applied:
        if isinstance(step.intervention, Quantiser) and step.recompression != "reproject":
            step.intervention.before_rounding(subject, own, name, step.receipt)
    return own
