"""GPTQ (arXiv 2210.17323): quantise column by column, later columns make up for the error.

    H = (2 / #sequences) Σ x xᵀ + damping · mean(diag H) · I,   U = chol(H⁻¹)ᵀ
    e = (w_j − quant(w_j)) / U_jj,   W_{:,k} −= e · U_jk for k > j      (algorithm 1)

The range of a group always includes 0. Its scale and zero are read at the group's first column
from weights as updated by earlier blocks of `block_size` columns (`static_groups`: from the
dense weights); with the whole row as group, from the dense row. `act_order` takes columns by
descending diag H. Dead input channels get zero weights, which every grid holds.
Deviations: a group of weights that are all ≥ 0 has a symmetric range here too, where the
authors' code leaves half of it out and clamps. After a pruner zeros stay zero, their error is
passed on like any other; the authors' code moves them off zero (`keep_zeros: false`). A Hessian
without a finite factor is tried again with more damping, where the authors' code stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from rayci.interventions.compression.columns import sweep
from rayci.interventions.compression.grid import Grid, including_zero
from rayci.interventions.compression.hessian import Curvature, SecondOrder
from rayci.interventions.compression.quantiser import Quantiser, keep
from rayci.subject import Subject


class Rounding:
    """The rule of the sweep: the nearest level of the column's group, 0 where `zeros` says so."""

    def __init__(
        self, bits: int, group: int, *, symmetric: bool, laid: Grid | None = None, zeros: Tensor | None = None
    ) -> None:
        self.bits, self.group, self.symmetric = bits, group, symmetric
        self.laid, self.zeros = laid, zeros
        """Levels known beforehand; bool `[out, in]`, weights to be kept 0. Both in the sweep's order."""
        self.index = None if laid is None or laid.index is None else laid.index.tolist()
        self.scales = [] if laid is None else list(laid.scale.T.contiguous())
        self.zeros_of = [] if laid is None else list(laid.zero.T.contiguous())
        """Scale and zero of every group so far, `[out]` each."""
        self._columns = torch.empty(0)

    def begin(self, start: int, columns: Tensor, block: Tensor) -> None:
        self._columns = columns

    def choose(self, start: int, offset: int, block: Tensor) -> Tensor:
        column = start + offset
        if self.laid is None and column % self.group == 0:
            weights = self._columns[column : column + self.group].T
            grid = including_zero(weights, self.bits, self.group, symmetric=self.symmetric)
            self.scales.append(grid.scale.flatten())
            self.zeros_of.append(grid.zero.flatten())
        group = self.index[column] if self.index else column // self.group
        scale, zero = self.scales[group], self.zeros_of[group]
        codes = torch.round(block[offset] / scale).add_(zero).clamp_(0, 2**self.bits - 1)
        chosen = codes.sub_(zero).mul_(scale)
        return chosen if self.zeros is None else chosen.masked_fill_(self.zeros[:, column], 0)

    def grid(self) -> Grid:
        """The levels of all groups, in the sweep's order, after the sweep."""
        scale, zero = torch.stack(self.scales, dim=1), torch.stack(self.zeros_of, dim=1)
        return Grid(scale, zero, 0, 2**self.bits - 1)


class GPTQ(Quantiser, SecondOrder):
    """Quantisation with error feedback."""

    name: ClassVar[str] = "gptq"

    symmetric: bool = True
    """Levels around 0, −2^(b−1) to 2^(b−1) − 1 steps; off: levels from min to max."""
    act_order: bool = False
    """Quantise channels by descending diag H, the largest first; groups then are runs in this order."""
    static_groups: bool = False
    """Lay all groups' levels on the dense weights beforehand; with `act_order`, groups stay runs of columns."""

    def void_settings(self) -> Mapping[str, str]:
        whole = "the levels of a whole row (group_size = -1) are laid on the dense weights anyway"
        return {"static_groups": whole} if self.group_size == -1 else {}

    def compress(self, subject: Subject, weights: Mapping[str, Tensor], curvature: Curvature) -> dict[str, Tensor]:
        order = curvature.hessian.diagonal().argsort(descending=True, stable=True) if self.act_order else None
        factor = curvature.factor(order)
        whole = torch.cat([weight.float() for weight in weights.values()])
        zeros = whole == 0 if self.keeps_zeros(subject) else None
        dense = whole.masked_fill(curvature.dead, 0)
        group = self.group(next(iter(weights)), whole.shape[1])
        laid = self._laid(whole, dense, group)
        if order is None:
            rule = Rounding(self.bits, group, symmetric=self.symmetric, laid=laid, zeros=zeros)
            done, grid = sweep(dense, factor, self.block_size, rule), rule.grid()
        else:
            done, grid = self._ordered(dense, factor, order, group, laid, zeros)
        kept: dict[str, Tensor] = {}
        start = 0
        for name, weight in weights.items():
            rows = slice(start, start := start + len(weight))
            weight.copy_(done[rows])
            # Copies: a stored tensor must not share memory with another.
            index = None if grid.index is None else grid.index.clone()
            own = Grid(grid.scale[rows].clone(), grid.zero[rows].clone(), grid.low, grid.high, index)
            kept |= keep(name, own)
        return kept

    def _laid(self, whole: Tensor, dense: Tensor, group: int) -> Grid | None:
        """The levels that do not wait for the sweep."""
        if self.group_size == -1:
            return including_zero(whole, self.bits, group, symmetric=self.symmetric)
        return including_zero(dense, self.bits, group, symmetric=self.symmetric) if self.static_groups else None

    def _ordered(
        self, dense: Tensor, factor: Tensor, order: Tensor, group: int, laid: Grid | None, zeros: Tensor | None
    ) -> tuple[Tensor, Grid]:
        """Weights and grid of a sweep through the columns in `order`, both put back into place."""
        back = order.argsort()
        placed = laid and Grid(laid.scale, laid.zero, laid.low, laid.high, order // group)
        turned = None if zeros is None else zeros[:, order]
        rule = Rounding(self.bits, group, symmetric=self.symmetric, laid=placed, zeros=turned)
        done = sweep(dense[:, order], factor, self.block_size, rule)[:, back]
        if laid:
            return done, laid
        grid = rule.grid()
        return done, Grid(grid.scale, grid.zero, grid.low, grid.high, back // group)
