"""HQQ, half-quadratic quantisation (H. Badri and A. Shaji, Mobius Labs, 2023): the zeros that suit most weights best.

    minimise over z   Σ |w − s (q − z)|^p,    q = round(w / s + z) from 0 to 2^b − 1,    s = (max − min) / (2^b − 1)

for every group of columns of a row; p < 1 takes larger errors of a few weights for smaller ones of the others. No
calibration. An auxiliary e ≈ x = w − s (q − z) splits the sum in two halves, solved in turn from z = −min / s on:

    e ← sign(x) max(0, |x| − |x|^(p−1) / β)        z ← mean over the group of q − (w − e) / s        β ← κ β

A matrix is done where the mean |x| of all its groups falls no further. Of |x| < β^(−1/(2−p)), 0.17 as published, e is
0 and z the least-squares zero; errors of language models' weights are that small. z is no whole number, so 0 is no
level: after a pruner zeros stay beside the grid. Source: "Half-Quadratic Quantization of Large Machine Learning Models"
(mobiusml.github.io/hqq_blog) and its code, hqq 0.2.8, `optimize_weights_proximal_legacy`.
Deviations: fp32 on any device, where their code takes fp16 on a GPU; groups lie along the inputs, as with their
`axis=1`, which transformers sets and fast kernels ask for.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.intervention import Receipt
from rayci.interventions.compression.grid import Grid, Offset
from rayci.interventions.compression.kept_grids import keep
from rayci.interventions.compression.quantiser import Quantiser, whole_row_or_columns
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload

LEAST_SCALE = 0.5e-4
"""Of a group's step, as in the authors' code; constant groups take it."""


class HalfQuadratic(Quantiser):
    """Quantisation with zeros between the levels, found without calibration."""

    name: ClassVar[str] = "hqq"
    paper: ClassVar[str] = "Badri and Shaji, Mobius Labs (2023)"
    seeded: ClassVar[bool] = False

    group_size: Annotated[int, AfterValidator(whole_row_or_columns)] = 64
    """Columns that share a scale and a zero; −1 = the whole row. Must divide the columns of every linear."""
    p: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Power of the errors that are summed; 1 is the plain soft threshold."""
    beta: Annotated[float, Field(gt=0)] = 10.0
    """β at first: how close e is held to the error."""
    kappa: Annotated[float, Field(ge=1)] = 1.01
    """κ, by which β grows with every iteration."""
    iterations: Annotated[int, Field(ge=0)] = 20
    """Iterations at most; 0 rounds with the zeros as they lie."""

    def even(self) -> Offset:
        return Offset(0, 2**self.bits - 1)

    def operations(self, work: Workload) -> Effort:
        """A pass over the weights to round them, and half of one for each iteration."""
        return (1 + self.iterations / 2) * work.pass_operations()

    def memory(self, work: Workload) -> int:
        """fp32 copies of a linear: weights, in steps as well, codes, errors, their size and its power."""
        return work.pass_bytes()

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept: dict[str, Tensor] = {}
        for name, module in subject.linears(placed=True):
            weight = modules.weight(module)
            grid = self.grid(weight, self.group(name, weight.shape[1]))
            self.refuse_infinite(name, grid)
            self.write(subject, module, grid)
            kept |= keep(name, grid)
        return self.receipt(subject, kept)

    def grid(self, weight: Tensor, group: int) -> Grid:
        """The grid of a weight `[out, in]` in groups of so many columns."""
        groups = weight.float().unflatten(-1, (-1, group))
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        steps = ((2**self.bits - 1) / (high - low)).clamp(max=1 / LEAST_SCALE)  # a unit: 1/s, as the authors hold it
        scaled, zero, beta, least = groups * steps, -low * steps, self.beta, math.inf
        for _ in range(self.iterations):
            zero, error = self._iterate(groups, scaled, steps, zero, beta)
            if not error < least:
                break
            beta, least = beta * self.kappa, error
        return Grid(self.even(), (1 / steps).squeeze(-1), zero.squeeze(-1))

    def _iterate(
        self, groups: Tensor, scaled: Tensor, steps: Tensor, zero: Tensor, beta: float
    ) -> tuple[Tensor, float]:
        """The next zeros, and the mean error with the present ones; `scaled` are the weights in steps."""
        codes = (scaled + zero).round_().clamp_(0, 2**self.bits - 1)
        error = (codes - zero).div_(steps).neg_().add_(groups)
        size = error.abs()
        mean, largest = torch.stack((size.mean(), size.amax())).tolist()
        if largest < 0.99 * beta ** (-1 / (2 - self.p)):  # then e is 0, and the powers need not be taken
            return codes.sub_(scaled).mean(-1, keepdim=True), mean
        shrunk = size.sub_(size.pow(self.p - 1).div_(beta)).clamp_(min=0).copysign_(error)
        return codes.sub_(torch.sub(groups, shrunk, out=error).mul_(steps)).mean(-1, keepdim=True), mean
