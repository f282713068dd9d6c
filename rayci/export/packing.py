"""Which weights of a subject a checkpoint can hold as codes of few bits, and which not, and why.

The last quantiser's grids are those of its receipt. Whatever was applied after it counts: a linear
whose weights all still lie on the grid is packed, one that an edit moved stays dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from rayci.export.codes import Codes, OffGridError
from rayci.intervention import Receipt
from rayci.interventions.compression.any_grid import AnyGrid
from rayci.interventions.compression.quantiser import Quantiser
from rayci.model import modules
from rayci.model.experts import Expert
from rayci.subject import Subject

if TYPE_CHECKING:
    from rayci.model.modules import Linear


@dataclass(frozen=True)
class Packing:
    """The weights of all linears in the decoder blocks, by the name of the parameter that holds them."""

    levels: str
    """Key of `PACKED_AS`: `int`, or the name of a number format."""
    bits: int
    group_size: int | None
    """Columns that share a scale; None: the whole row."""
    packed: Mapping[str, Codes]
    dense: Mapping[str, str]
    """Parameter -> why it is stored as it is."""

    @property
    def precision(self) -> str:
        """What a weight is packed in, for people."""
        return f"{self.bits} bits" if self.levels == "int" else self.levels

    @cached_property
    def symmetric(self) -> bool:
        """Whether all levels lie around 0, so that no zero points are stored."""
        return not any(codes.zero is not None and bool(codes.zero.any()) for codes in self.packed.values())


def pack(subject: Subject) -> Packing | None:
    """What can be packed of a subject; None where no quantiser was applied."""
    quantisers = [(step, receipt) for step, receipt in subject.compressors() if isinstance(step, Quantiser)]
    if not quantisers:
        return None
    quantiser, receipt = quantisers[-1]
    parts: dict[str, list[Codes]] = {}
    dense: dict[str, str] = {}
    routed: set[str] = set()
    for name, module in subject.linears(placed=True):
        parameter = modules.parameter_name(name, module)
        routed |= {parameter} if isinstance(module, Expert) else set()
        try:
            parts.setdefault(parameter, []).append(_codes(quantiser, receipt, name, module))
        except OffGridError as reason:
            dense.setdefault(parameter, str(reason))
    packed = {
        name: Codes.stacked(codes) if name in routed else codes[0] for name, codes in parts.items() if name not in dense
    }
    whole_rows = all(codes.scale.shape[-1] == 1 for codes in packed.values())
    levels = quantiser.grid if isinstance(quantiser, AnyGrid) else "int"
    packing = Packing(levels, quantiser.bits, None if whole_rows else quantiser.group_size, packed, dense)
    return _with_all_experts_or_none(packing, routed)


def _codes(quantiser: Quantiser, receipt: Receipt, name: str, module: Linear) -> Codes:
    if modules.is_conv1d(module):
        raise OffGridError("it is a Conv1D, and the format packs nn.Linear alone")
    weight = modules.weight(module)
    return Codes.of(weight, quantiser.grid_in(receipt.kept, name, weight.device), quantiser.bits)


def _with_all_experts_or_none(packing: Packing, routed: set[str]) -> Packing:
    """What transformers can read of a quantised mixture of experts."""
    rows = packing.levels != "fp8" or packing.group_size is None
    reads = packing.symmetric and rows and packing.levels != "nvfp4" and not routed & packing.dense.keys()
    if not routed or reads:
        return packing
    reason = "transformers reads packed experts only where all are packed: levels around 0, fp8 by rows, mxfp4"
    dense = {name: packing.dense.get(name, reason) for name in (*packing.packed, *packing.dense)}
    return replace(packing, packed={}, dense=dense)
