"""Optimal brain surgery, column by column: SparseGPT's and GPTQ's common sweep. Pure tensor maths.

With U the upper Cholesky factor of H⁻¹, replacing column j of W by q moves every later column:

    e = (w_j − q) / U_jj        W_{:,k} −= e · U_jk   for k > j     (arXiv 2210.17323, algorithm 1)

Columns are taken in blocks: inside a block at once, in the columns behind it by one product.
Matrices are held `[in, …, out]`, so that a column is contiguous; linears of one shape, each with a
factor of its own, may be swept together as dimensions between.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from rayci.interventions.compression.replay import Run, directly

Settled = tuple[Tensor, ...]
"""What a rule decides at the border of a block, tensors of the same shapes for every block of one width."""


class Rule(Protocol):
    """Decides what a column becomes."""

    def begin(self, start: int, columns: Tensor, block: Tensor) -> Settled:
        """A block begins at column `start`; `columns [in, …, out]` holds all earlier blocks' updates."""

    def choose(self, offset: int, block: Tensor, settled: Settled) -> Tensor:
        """The new column `offset` of the block, `[…, out]`, given the block `[columns, …, out]` as updated so far.

        Reads and writes nothing but these tensors: its operations may be recorded and replayed.
        """


def sweep(weight: Tensor, factor: Tensor, block: int, rule: Rule, run: Run = directly) -> Tensor:
    """`weight […, out, in]` with every column replaced by what `rule` chooses, errors passed on; fp32.

    `factor […, in, in]` is U of each. `run` calls the work inside a block, `replace`, with the block's tensors.
    """
    columns = weight.float().movedim(-1, 0).clone(memory_format=torch.contiguous_format)
    for start in range(0, len(columns), block):
        stop = min(start + block, len(columns))
        part = columns[start:stop].clone()
        errors = torch.empty_like(part)
        settled = rule.begin(start, columns, part)
        local = factor[..., start:stop, start:stop].movedim((-2, -1), (0, 1))
        run(partial(replace, rule), part, errors, local, *settled)
        columns[start:stop] = part
        later = factor[..., start:stop, stop:].mT @ errors.movedim(0, -2)
        columns[stop:] -= later.movedim(-2, 0)
    return columns.movedim(0, -1)


def replace(rule: Rule, part: Tensor, errors: Tensor, factor: Tensor, *settled: Tensor) -> None:
    """Replace the columns of a block, `part [columns, …, out]`, and put down each one's error e, both in place.

    `factor [columns, columns, …]` is the block's own part of U.
    """
    moves = torch.empty_like(part)
    for offset, (column, error, row) in enumerate(zip(part, errors, factor, strict=True)):
        chosen, behind = rule.choose(offset, part, settled), slice(offset + 1, None)
        torch.sub(column, chosen, out=error).div_(row[offset].unsqueeze(-1))
        column.copy_(chosen)
        # Product and difference round separately, as in the authors' code; `addr_` rounds once, and
        # a weight half-way between two levels then goes the other way: 24 % of 4-bit codes differ.
        part[behind].sub_(torch.mul(row[behind].unsqueeze(-1), error, out=moves[behind]))
