"""Magnitude pruning, the baseline: the smallest |W| go, without calibration.

    mask = the int(out · in · sparsity) lowest |W_ij| of each matrix

Every linear loses the same share, chosen over the whole matrix, as in the baselines of the
SparseGPT (arXiv 2301.00774) and Wanda (arXiv 2306.11695) repositories; `scope: row` chooses
within every output row. n:m zeroes the n smallest of every aligned group of m columns.
Deviation: both repositories compare with `<=` the threshold and so prune one entry (and its
ties) too many; ours prunes the count. `parity: true` does as they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError
from rayci.intervention import Receipt
from rayci.interventions.compression import masks
from rayci.interventions.compression.lowest import lowest_in_group, lowest_in_matrix, lowest_in_row
from rayci.interventions.compression.pruner import Pruner
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class Magnitude(Pruner):
    """Pruning by weights alone."""

    name: ClassVar[str] = "magnitude"
    paper: ClassVar[str] = "arXiv 1506.02626 (2015)"
    keeps_values: ClassVar[bool] = True
    seeded: ClassVar[bool] = False

    scope: Literal["matrix", "row"] = "matrix"
    """Where the lowest are looked for; the published baselines take the whole matrix. Not with a pattern."""
    parity: bool = False
    """Prune all that is `<=` the threshold, as the published baselines do: one entry a matrix too
    many. Not with the scope `row` or a pattern."""

    def void_settings(self) -> Mapping[str, str]:
        if self.pattern is not None:
            return dict.fromkeys(("scope", "parity"), f"pattern {self.pattern} takes n of each group, exactly")
        return {"parity": "scope = row prunes the exact count in every row"} if self.scope == "row" else {}

    def operations(self, work: Workload) -> Effort:
        return work.pass_operations()

    def memory(self, work: Workload) -> int:
        return work.pass_bytes()

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept: dict[str, Tensor] = {}
        for name, module in subject.linears(placed=True):
            weight = modules.weight(module)
            if not bool(torch.isfinite(weight).all()):
                raise InterventionError(f"magnitude: the weights of {name} are not finite")
            mask = self._mask(weight.float().abs())
            weight[mask] = 0
            kept[name] = masks.pack(mask)
        return self.receipt(subject, kept, {})

    def _mask(self, values: Tensor) -> Tensor:
        if self.ratio:
            return lowest_in_group(values.contiguous(), *self.ratio)
        if self.scope == "row":
            return lowest_in_row(values, self.sparsity)
        return lowest_in_matrix(values, self.sparsity, parity=self.parity)
