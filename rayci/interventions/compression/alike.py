"""Groups of linears that have equal shapes, as routed experts do: solved together, as one more dimension."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from rayci.interventions.compression.walk import BlockInputs
from rayci.model import modules
from rayci.model.encoding import chunks

Group = tuple[str, ...]
"""Paths of linears with one input."""


def alike(inputs: BlockInputs, most: int) -> Iterator[list[Group]]:
    """The groups of a block, at most `most` of equal shapes at a time."""
    by_shapes: dict[tuple[torch.Size, ...], list[Group]] = {}
    for group in inputs.groups:
        shapes = tuple(modules.weight(modules.linear(inputs.block, path)).shape for path in group)
        by_shapes.setdefault(shapes, []).append(group)
    for groups in by_shapes.values():
        yield from map(list, chunks(groups, most))


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
