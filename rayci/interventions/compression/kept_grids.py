"""How a receipt keeps the grid of a linear: as tensors by name, which tell the grid by themselves.

levels a scale apart   `<linear>.scale`, `.zero`, fp32; `.offset` for a zero that is no whole number
a number format        `<linear>.fp8`, `.mxfp4`, `.nvfp4` or `.nf4`: scales as the format stores them;
                       `.tensor_scale` where it has one for the matrix
groups that are no runs of columns   `.index` beside them
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rayci.interventions.compression.grid import Even, Grid, Offset
from rayci.interventions.compression.number_formats import FORMATS, NumberFormat


def keep(linear: str, grid: Grid) -> dict[str, Tensor]:
    """What a receipt holds of a grid, in host memory: it is needed once more at most."""
    parts = {"offset" if isinstance(grid.levels, Offset) else "zero": grid.zero, "index": grid.index}
    if isinstance(grid.levels, NumberFormat):
        parts[grid.levels.name] = grid.levels.stored(grid)
        parts["tensor_scale"] = None if grid.tensor_scale is None else grid.tensor_scale[:1].clone()
    else:
        parts["scale"] = grid.scale
    return {f"{linear}.{part}": value.cpu() for part, value in parts.items() if value is not None}


def restore(kept: Mapping[str, Tensor], linear: str, even: Even, device: torch.device) -> Grid | None:
    """The grid that `keep` kept of a linear, None for none; `even`: the codes of levels that are a scale apart."""

    def part(name: str) -> Tensor | None:
        value = kept.get(f"{linear}.{name}")
        return None if value is None else value.to(device)

    scale, zero, offset, index, tensor_scale = map(part, ("scale", "zero", "offset", "index", "tensor_scale"))
    if scale is not None and zero is not None:
        return Grid(even, scale, zero, index)
    if scale is not None and offset is not None:
        return Grid(Offset(even.low, even.high), scale, offset, index)
    for name, made in FORMATS.items():
        if (scale := part(name)) is not None:
            return Grid(made, made.restored(scale, tensor_scale), None, index, tensor_scale)
    return None
