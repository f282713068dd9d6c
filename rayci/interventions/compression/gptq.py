"""GPTQ (arXiv 2210.17323): quantise column by column, later columns make up for the error.

    H = (2 / #sequences) Σ x xᵀ + damping · mean(diag H) · I,   U = chol(H⁻¹)ᵀ
    e = (w_j − quant(w_j)) / U_jj,   W_{:,k} −= e · U_jk for k > j      (algorithm 1)

The range of a group always includes 0. Its scale and zero are read at the group's first column
from weights as updated by earlier blocks of `block_size` columns (`static_groups`: from the
dense weights); with the whole row as group, from the dense row. `act_order` takes columns by
descending diag H. Dead input channels get zero weights, which every grid holds. Scales of a number format (`grid`) are
read where those of levels a scale apart are; nvfp4's tensor scale is that of the dense matrix, from the beginning on.
Deviations: a group of weights that are all ≥ 0 has a symmetric range here too, where the
authors' code leaves half of it out and clamps. After a pruner zeros stay zero, their error is
passed on like any other; the authors' code moves them off zero (`keep_zeros: false`). A Hessian
without a finite factor is tried again with more damping, where the authors' code stops.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor

from rayci.interventions.compression.alike import rows_of, stacked, unstacked
from rayci.interventions.compression.any_grid import AnyGrid
from rayci.interventions.compression.columns import Settled, sweep
from rayci.interventions.compression.grid import Grid, Levels, including_zero
from rayci.interventions.compression.hessian import Curvature, SecondOrder, factors
from rayci.interventions.compression.kept_grids import keep
from rayci.interventions.compression.number_formats import NumberFormat
from rayci.interventions.compression.replay import Run
from rayci.model import modules
from rayci.subject import Subject

Lay = Callable[[Tensor], Grid]
"""The grid of weights `[…, out, in]`, in groups of columns."""


class Rounding:
    """The rule of the sweep: the nearest level of the column's group, 0 where `zeros` says so."""

    def __init__(
        self, levels: Levels, group: int, lay: Lay, *, laid: Grid | None = None, zeros: Tensor | None = None
    ) -> None:
        self.levels, self.group, self.lay = levels, group, lay
        """`lay` is asked for one group at a time."""
        self.laid, self.zeros = laid, zeros
        """A grid known beforehand; bool `[…, out, in]`, weights to be kept 0. Both in the sweep's order."""
        self.read: list[Grid] = []
        """The grid of every group so far, where they are read on the way."""

    def begin(self, start: int, columns: Tensor, block: Tensor) -> Settled:
        """Scale, and zero, of each of the block's columns, `[columns, …, out]`, and which weights stay 0."""
        stop = start + len(block)
        if self.laid is None:
            settled = self._read(start, stop, columns)
        else:
            index = self.laid.group_of_column(len(columns))[..., start:stop].expand(*columns.shape[1:-1], -1)
            settled = tuple(_columns(part.take_along_dim(index.unsqueeze(-2), -1)) for part in self.laid.parts)
        return settled if self.zeros is None else (*settled, _columns(self.zeros[..., start:stop]))

    def choose(self, offset: int, block: Tensor, settled: Settled) -> Tensor:
        parts = [part[offset] for part in settled]
        zeros = None if self.zeros is None else parts.pop()
        chosen = self.levels.nearest(block[offset], *parts)
        return chosen if zeros is None else chosen.masked_fill_(zeros, 0)

    def grid(self) -> Grid:
        """The levels of all groups, in the sweep's order, after the sweep."""
        scale, *zero = (torch.cat(parts, -1) for parts in zip(*(grid.parts for grid in self.read), strict=True))
        return replace(self.read[0], scale=scale, zero=zero[0] if zero else None)

    def _read(self, start: int, stop: int, columns: Tensor) -> Settled:
        """Scales and zeros by column; those of groups that begin in the block from earlier blocks' updates."""
        for first in range(len(self.read) * self.group, stop, self.group):
            self.read.append(self.lay(columns[first : first + self.group].movedim(0, -1)))
        groups = [self.read[column // self.group].parts for column in range(start, stop)]
        return tuple(torch.stack([part.squeeze(-1) for part in parts]) for parts in zip(*groups, strict=True))


def _columns(matrix: Tensor) -> Tensor:
    """`[…, out, columns]` with the columns first, each of them contiguous."""
    return matrix.movedim(-1, 0).contiguous()


class GPTQ(AnyGrid, SecondOrder):
    """Quantisation with error feedback."""

    name: ClassVar[str] = "gptq"
    paper: ClassVar[str] = "arXiv 2210.17323 (2022)"

    symmetric: bool = True
    """Levels around 0, −2^(b−1) to 2^(b−1) − 1 steps; off: levels from min to max."""
    act_order: bool = False
    """Quantise channels by descending diag H, the largest first; groups then are runs in this order."""
    static_groups: bool = False
    """Lay all groups' levels on the dense weights beforehand; with `act_order`, groups stay runs of columns."""

    def void_settings(self) -> Mapping[str, str]:
        whole = "the levels of a whole row (group_size = -1) are laid on the dense weights anyway"
        return {**super().void_settings(), **({"static_groups": whole} if self.group_size == -1 else {})}

    @model_validator(mode="after")
    def _blocks_are_runs_of_columns(self) -> Self:
        if self.format is not None and self.format.fixed and self.act_order and not self.static_groups:
            raise ValueError(f"act_order: blocks of {self.grid} are runs of columns; add static_groups = true")
        return self

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
        lay = self._lay(group, whole, own)
        laid = lay(whole) if self.group_size == -1 else lay(dense) if self.static_groups else None
        del whole
        rule = Rounding(self.levels, group, lay, laid=laid, zeros=zeros)
        if order is None:
            done, grid = sweep(dense, factor, self.block_size, rule, run), laid or rule.grid()
        else:
            done, grid = self._ordered(dense, factor, order, rule, run)
        kept = self._kept(weights, grid)
        for weight, values in zip(own, unstacked(done, own), strict=True):
            weight.copy_(values)
        return kept

    def _lay(self, group: int, whole: Tensor, own: Collection[Tensor]) -> Lay:
        """How grids are laid on parts of `whole [groups, rows, in]`, which holds the weights `own`."""
        if self.format is None:
            return partial(including_zero, bits=self.bits, group=group, symmetric=self.symmetric)
        return partial(self.format.lay, group=group, tensor_scale=_tensor_scales(self.format, whole, own))

    def _ordered(self, dense: Tensor, factor: Tensor, order: Tensor, rule: Rounding, run: Run) -> tuple[Tensor, Grid]:
        """Weights and grid of a sweep through the columns in `order [groups, in]`, both put back into place."""
        back, laid = order.argsort(), rule.laid
        rule.laid = laid and replace(laid, index=order // rule.group)
        rule.zeros = None if rule.zeros is None else rule.zeros.take_along_dim(order.unsqueeze(-2), -1)
        done = sweep(dense.take_along_dim(order.unsqueeze(-2), -1), factor, self.block_size, rule, run)
        done = done.take_along_dim(back.unsqueeze(-2), -1)
        return done, laid or replace(rule.grid(), index=back // rule.group)

    def _kept(self, weights: Mapping[str, Tensor], grid: Grid) -> dict[str, Tensor]:
        """What a receipt holds of the grids of all linears, of which each group has as many."""
        own, groups = weights.values(), len(grid.scale)
        parts = {"scale": grid.scale, "zero": grid.zero, "tensor_scale": grid.tensor_scale}
        split = {part: unstacked(value, own) for part, value in parts.items() if value is not None}
        kept: dict[str, Tensor] = {}
        for place, name in enumerate(weights):
            # Copies: a stored tensor must not share memory with another.
            copies = {part: values[place].clone() for part, values in split.items()}
            index = None if grid.index is None else grid.index[place * groups // len(own)].clone()
            of_linear = Grid(grid.levels, copies["scale"], copies.get("zero"), index, copies.get("tensor_scale"))
            self.refuse_infinite(name, of_linear)
            kept |= keep(name, of_linear)
        return kept


def _tensor_scales(made: NumberFormat, whole: Tensor, own: Collection[Tensor]) -> Tensor | None:
    """The tensor scale of each row's own matrix, `[groups, rows, 1]`; None where the format has none."""
    matrices = whole.split(rows_of(own, len(whole)), dim=1)
    found = [(made.tensor_scale(matrix), matrix.shape[1]) for matrix in matrices]
    scales = [scale.expand(-1, rows, 1) for scale, rows in found if scale is not None]
    return torch.cat(scales, 1) if scales else None
