"""Optimal brain surgery, column by column: SparseGPT's and GPTQ's common sweep. Pure tensor maths.

With U the upper Cholesky factor of H⁻¹, replacing column j of W by q moves every later column:

    e = (w_j − q) / U_jj        W_{:,k} −= e · U_jk   for k > j     (arXiv 2210.17323, algorithm 1)

Columns are taken in blocks: inside a block at once, in the columns behind it by one product.
Matrices are held transposed, `[in, out]`, so that a column is contiguous.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Rule(Protocol):
    """Decides what a column becomes."""

    def begin(self, start: int, columns: Tensor, block: Tensor) -> None:
        """A block begins at column `start`; `columns [in, out]` holds all earlier blocks' updates."""

    def choose(self, start: int, offset: int, block: Tensor) -> Tensor:
        """The new column `start + offset`, `[out]`, given the block `[columns, out]` as updated so far."""


def sweep(weight: Tensor, factor: Tensor, block: int, rule: Rule) -> Tensor:
    """`weight [out, in]` with every column replaced by what `rule` chooses, errors passed on; fp32."""
    columns = weight.float().T.clone(memory_format=torch.contiguous_format)
    for start in range(0, len(columns), block):
        stop = min(start + block, len(columns))
        part = columns[start:stop].clone()
        errors, moves = torch.empty_like(part), torch.empty_like(part)
        local = factor[start:stop, start:stop]
        rule.begin(start, columns, part)
        for offset, scale in enumerate(local.diagonal().tolist()):
            column, error, behind = part[offset], errors[offset], slice(offset + 1, None)
            chosen = rule.choose(start, offset, part)
            torch.sub(column, chosen, out=error).div_(scale)
            column.copy_(chosen)
            # Product and difference round separately, as in the authors' code; `addr_` rounds once, and
            # a weight half-way between two levels then goes the other way: 24 % of 4-bit codes differ.
            part[behind].sub_(torch.outer(local[offset, behind], error, out=moves[behind]))
        columns[start:stop] = part
        columns[stop:] -= factor[start:stop, stop:].T @ errors
    return columns.T
