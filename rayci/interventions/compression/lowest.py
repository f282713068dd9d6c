"""Which weights of a matrix go: the lowest scores by row, by group of columns or overall.

Ties fall on the first column, then the first row. Pure tensor maths.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lowest_in_row(values: Tensor, sparsity: float) -> Tensor:
    """True for the int(columns · sparsity) lowest of every row, ties by column; `[out, in]`."""
    return _lowest(values, int(values.shape[1] * sparsity))


def lowest_in_group(values: Tensor, n: int, m: int) -> Tensor:
    """True for the n lowest of every aligned group of m columns; `[…, out, in]`."""
    groups = values.unflatten(-1, (-1, m))
    order = groups.sort(dim=-1, stable=True).indices[..., :n]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order, True).flatten(-2)


def lowest_in_matrix(values: Tensor, sparsity: float, *, parity: bool = False) -> Tensor:
    """True for the int(elements · sparsity) lowest of all of a matrix; `[…, out, in]`.

    With `parity` everything up to the threshold goes, threshold included: one entry (and its
    ties) more than asked, as authors' scripts do that compare with `<=`.
    """
    flat = values.flatten(-2)
    count = int(flat.shape[-1] * sparsity)
    lowest = flat <= _largest_of_lowest(flat, count + 1) if parity else _lowest(flat, count)
    return lowest.view(values.shape)


def _lowest(values: Tensor, count: int) -> Tensor:
    """True for the `count` lowest along the last dimension; of equal ones the first go, as a stable sort has it."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = _largest_of_lowest(values, count)
    below, at = values < threshold, values == threshold
    return below | (at & (at.cumsum(-1) <= count - below.sum(-1, keepdim=True)))


def _largest_of_lowest(values: Tensor, count: int) -> Tensor:
    """The `count`-th lowest along the last dimension; found by selection, which takes a fraction of a sort's time."""
    return values.topk(count, dim=-1, largest=False, sorted=False).values.amax(-1, keepdim=True)
