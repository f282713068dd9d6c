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

from rayci.interventions.compression.alike import stacked, unstacked
from rayci.interventions.compression.columns import Settled, sweep
from rayci.interventions.compression.grid import Grid, including_zero
from rayci.interventions.compression.hessian import Curvature, SecondOrder, factors
from rayci.interventions.compression.quantiser import Quantiser, keep
from rayci.interventions.compression.replay import Run
from rayci.model import modules
from rayci.subject import Subject


class Rounding:
    """The rule of the sweep: the nearest level of the column's group, 0 where `zeros` says so."""

    def __init__(
        self, bits: int, group: int, *, symmetric: bool, laid: Grid | None = None, zeros: Tensor | None = None
    ) -> None:
        self.bits, self.group, self.symmetric = bits, group, symmetric
        self.laid, self.zeros = laid, zeros
        """Levels known beforehand; bool `[…, out, in]`, weights to be kept 0. Both in the sweep's order."""
        self.scales: list[Tensor] = []
        self.zero_codes: list[Tensor] = []
        """Scale and zero of every group so far, `[…, out]` each, where they are read on the way."""

    def begin(self, start: int, columns: Tensor, block: Tensor) -> Settled:
        """Scale and zero of each of the block's columns, `[columns, …, out]`, and which weights stay 0."""
        stop = start + len(block)
        if self.laid is None:
            settled = self._read(start, stop, columns)
        else:
            index = self.laid.group_of_column(len(columns))[..., start:stop].expand(*columns.shape[1:-1], -1)
            parts = (self.laid.scale, self.laid.zero)
            settled = tuple(_columns(part.take_along_dim(index.unsqueeze(-2), -1)) for part in parts)
        return settled if self.zeros is None else (*settled, _columns(self.zeros[..., start:stop]))

    def choose(self, offset: int, block: Tensor, settled: Settled) -> Tensor:
        scale, zero, *zeros = (part[offset] for part in settled)
        codes = torch.round(block[offset] / scale).add_(zero).clamp_(0, 2**self.bits - 1)
        chosen = codes.sub_(zero).mul_(scale)
        return chosen.masked_fill_(zeros[0], 0) if zeros else chosen

    def grid(self) -> Grid:
        """The levels of all groups, in the sweep's order, after the sweep."""
        return Grid(torch.stack(self.scales, -1), torch.stack(self.zero_codes, -1), 0, 2**self.bits - 1)

    def _read(self, start: int, stop: int, columns: Tensor) -> Settled:
        """Scales and zeros by column; those of groups that begin in the block from earlier blocks' updates."""
        for first in range(len(self.scales) * self.group, stop, self.group):
            weights = columns[first : first + self.group].movedim(0, -1)
            grid = including_zero(weights, self.bits, self.group, symmetric=self.symmetric)
            self.scales.append(grid.scale.squeeze(-1))
            self.zero_codes.append(grid.zero.squeeze(-1))
        groups = [column // self.group for column in range(start, stop)]
        return tuple(torch.stack([parts[group] for group in groups]) for parts in (self.scales, self.zero_codes))


def _columns(matrix: Tensor) -> Tensor:
    """`[…, out, columns]` with the columns first, each of them contiguous."""
    return matrix.movedim(-1, 0).contiguous()


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

    def kept_bytes(self, subject: Subject) -> int:
        """And the group of every column, int64, where groups are runs in the order of the sweep."""
        ordered = self.act_order and not self.static_groups and self.group_size != -1
        columns = sum(modules.weight(module).shape[1] for _, module in subject.linears()) if ordered else 0
        return super().kept_bytes(subject) + 8 * columns

    def compress(
        self, subject: Subject, weights: Mapping[str, Tensor], curvatures: list[Curvature], run: Run
    ) -> dict[str, Tensor]:
        diagonals = [curvature.hessian.diagonal() for curvature in curvatures]
        order = torch.stack(diagonals).argsort(descending=True, stable=True) if self.act_order else None
        factor = factors(curvatures, order)
        own = weights.values()
        whole = stacked(own, len(curvatures))
        zeros = whole == 0 if self.keeps_zeros(subject) else None
        dense = whole.masked_fill(torch.stack([curvature.dead for curvature in curvatures]).unsqueeze(-2), 0)
        group = self.group(next(iter(weights)), whole.shape[-1])
        laid = self._laid(whole, dense, group)
        del whole
        if order is None:
            rule = Rounding(self.bits, group, symmetric=self.symmetric, laid=laid, zeros=zeros)
            done, grid = sweep(dense, factor, self.block_size, rule, run), laid or rule.grid()
        else:
            done, grid = self._ordered(dense, factor, order, group, laid, zeros, run)
        for weight, values in zip(own, unstacked(done, own), strict=True):
            weight.copy_(values)
        return _kept(weights, grid)

    def _laid(self, whole: Tensor, dense: Tensor, group: int) -> Grid | None:
        """The levels that do not wait for the sweep."""
        if self.group_size == -1:
            return including_zero(whole, self.bits, group, symmetric=self.symmetric)
        return including_zero(dense, self.bits, group, symmetric=self.symmetric) if self.static_groups else None

    def _ordered(
        self,
        dense: Tensor,
        factor: Tensor,
        order: Tensor,
        group: int,
        laid: Grid | None,
        zeros: Tensor | None,
        run: Run,
    ) -> tuple[Tensor, Grid]:
        """Weights and grid of a sweep through the columns in `order [groups, in]`, both put back into place."""
        back = order.argsort()
        placed = laid and Grid(laid.scale, laid.zero, laid.low, laid.high, order // group)
        turned = None if zeros is None else zeros.take_along_dim(order.unsqueeze(-2), -1)
        rule = Rounding(self.bits, group, symmetric=self.symmetric, laid=placed, zeros=turned)
        done = sweep(dense.take_along_dim(order.unsqueeze(-2), -1), factor, self.block_size, rule, run)
        done = done.take_along_dim(back.unsqueeze(-2), -1)
        if laid:
            return done, laid
        grid = rule.grid()
        return done, Grid(grid.scale, grid.zero, grid.low, grid.high, back // group)


def _kept(weights: Mapping[str, Tensor], grid: Grid) -> dict[str, Tensor]:
    """What a receipt holds of the grids of all linears, of which each group has as many."""
    own, groups = weights.values(), len(grid.scale)
    kept: dict[str, Tensor] = {}
    parts = zip(weights, unstacked(grid.scale, own), unstacked(grid.zero, own), strict=True)
    for place, (name, scale, zero) in enumerate(parts):
        # Copies: a stored tensor must not share memory with another.
        index = None if grid.index is None else grid.index[place * groups // len(own)].clone()
        kept |= keep(name, Grid(scale.clone(), zero.clone(), grid.low, grid.high, index))
    return kept
