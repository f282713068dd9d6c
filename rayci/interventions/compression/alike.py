"""Groups of linears that have equal shapes, as routed experts do: solved together, as one more dimension."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import torch
from torch import Tensor

from rayci.interventions.compression.walk import BlockInputs
from rayci.model import modules
from rayci.model.encoding import chunks

Group = tuple[str, ...]
"""Paths of linears with one input."""


AT_ONCE = 2**28
"""Elements of Hessians and weights that are solved together, at most: 16 experts of Qwen3-30B-A3B have 117 million,
which leaves launches few; one of Mixtral-8x7B has 264 million, and rows enough."""


def together(shapes: Iterable[tuple[int, ...]], most: int) -> int:
    """How many groups with linears of these shapes, `[out, in]` each, are solved at a time."""
    known = list(shapes)
    elements = known[0][1] ** 2 + sum(rows * columns for rows, columns in known)
    return max(1, min(most, AT_ONCE // elements))


def alike(inputs: BlockInputs, most: int) -> Iterator[list[Group]]:
    """The groups of a block, at most `most` of equal shapes at a time, and no more than memory suffices for."""
    by_shapes: dict[tuple[torch.Size, ...], list[Group]] = {}
    for group in inputs.groups:
        shapes = tuple(modules.weight(modules.linear(inputs.block, path)).shape for path in group)
        by_shapes.setdefault(shapes, []).append(group)
    for shapes, groups in by_shapes.items():
        yield from map(list, chunks(groups, together(shapes, most)))


def stacked(weights: Collection[Tensor], groups: int) -> Tensor:
    """Weights `[out, in]` of so many equal groups, one after the other, as fp32 `[groups, rows, in]`."""
    rows = torch.cat([weight.float() for weight in weights])
    return rows.view(groups, -1, rows.shape[1])


def unstacked(whole: Tensor, weights: Collection[Tensor]) -> list[Tensor]:
    """What belongs to each of the weights, in `[groups, rows, …]`."""
    rows = rows_of(weights, len(whole))
    return [part for group in whole for part in group.split(rows)]


def rows_of(weights: Collection[Tensor], groups: int) -> list[int]:
    """Rows of the linears of each group."""
    return [len(weight) for weight in weights][: len(weights) // groups]
