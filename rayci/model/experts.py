"""Routed experts: matrices of many experts stacked in one parameter, seen as one linear each.

A mixture-of-experts block keeps `gate_up_proj [experts, 2·inner, hidden]` (gate above up) and
`down_proj [experts, hidden, inner]`; its router sends every token to some of the experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GATE_UP, DOWN = "gate_up_proj", "down_proj"
"""The parameters, in the order of the computation."""
_PATH = re.compile(rf"(.+)\.(\d+)\.({GATE_UP}|{DOWN})")


@dataclass(frozen=True, slots=True)
class Expert:
    """One matrix of one routed expert."""

    experts: nn.Module
    """The module that holds the parameters of all experts."""
    parameter: str
    index: int

    @property
    def weight(self) -> Tensor:
        """The matrix `[out, in]`, a view that may be written in place."""
        stacked: Tensor = self.experts.get_parameter(self.parameter).data
        return stacked[self.index]


def expert(block: nn.Module, path: str) -> Expert | None:
    """The expert's matrix at a path such as `mlp.experts.3.down_proj`, None where there is none."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    try:
        holder = block.get_submodule(found[1])
    except AttributeError:
        return None
    index, parameter = int(found[2]), found[3]
    stacked = getattr(holder, parameter, None)
    whole = isinstance(stacked, nn.Parameter) and stacked.ndim == 3 and index < len(stacked)
    plain = not (getattr(holder, "is_transposed", False) or getattr(holder, "has_bias", False))
    return Expert(holder, parameter, index) if whole and plain else None


def stacked_parameter(name: str) -> str:
    """Name of the parameter that holds an expert's matrix: `a.3.down_proj` lies in `a.down_proj`."""
    holder, _, parameter = name.rpartition(".")
    return f"{holder.rpartition('.')[0]}.{parameter}"


def expert_paths(block: nn.Module, path: str) -> list[tuple[str, str]]:
    """Paths of gate_up and down of every expert in the module at `path`; none where the block has no such module."""
    try:
        holder = block.get_submodule(path)
    except AttributeError:
        return []
    count = len(holder.get_parameter(DOWN))
    return [(f"{path}.{index}.{GATE_UP}", f"{path}.{index}.{DOWN}") for index in range(count)]


def expert_inputs(holder: nn.Module, hidden: Tensor, chosen: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(expert, input of its gate_up `[tokens, hidden]`, input of its down `[tokens, inner]`) for experts in use.

    `hidden` is `[tokens, hidden]`, `chosen` `[tokens, experts a token]`.
    """
    module: Any = holder
    for index in torch.unique(chosen).tolist():
        routed = hidden[(chosen == index).any(-1)]
        yield index, routed, module._apply_gate(F.linear(routed, module.gate_up_proj[index]))
