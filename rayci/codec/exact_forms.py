"""What a compressor left of a weight, in the smallest form that gives it back bit for bit.

    base      the untouched model's weight
    zeros     nothing but zeros
    masked    zeros where a mask says so; elsewhere the untouched model's values, or stored ones
    codes     whole numbers of a few bits on the grid that a quantiser kept; beside them zeros where a mask says so
    dense     the values

Masks and grids are those of the receipts wherever they fit, so that nothing is stored twice. Each form is tried
on the weight as it is, whatever was applied since: what an edit moved is dense beside what it left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rayci.codec import bit_fields
from rayci.codec.level_codes import level_codes
from rayci.interventions.compression import kept_grids
from rayci.interventions.compression.grid import Even, Grid
from rayci.model.weight_bits import bits_of

Kept = Sequence[Mapping[str, Tensor]]
"""What the receipt of each step keeps: `<linear>` a packed mask, or a grid as `kept_grids` says."""
Form = Mapping[str, Any]
"""JSON values: `form`, `step` (whose mask or grid; None: a mask of its own), `width` and `lowest` of codes, and `mask`
(whose) where zeros stand beside them."""
Choice = tuple[Form | None, dict[str, Tensor]]
"""A form, None for dense, and what it stores under the weight's name with these endings."""

_EVEN = Even(-128, 255)
"""All codes of levels a scale apart, of up to 8 bits."""


@dataclass(frozen=True)
class Packed:
    """Weights by name, those of linears as `[out, in]`, each in a form of its own."""

    tensors: Mapping[str, Tensor]
    """Dense weights under their names; of others `<name>:mask`, `<name>:values`, `<name>:codes`. On the CPU."""
    forms: Mapping[str, Form]
    """Weights that are not dense."""
    kept: Kept = ()

    @classmethod
    @torch.no_grad()
    def of(cls, weights: Mapping[str, Tensor], base: Mapping[str, Tensor], kept: Kept = ()) -> Packed:
        """The smallest form of each weight, found on its device; `base` is what is known of the untouched model."""
        tensors: dict[str, Tensor] = {}
        forms: dict[str, Form] = {}
        for name, weight in weights.items():
            form, parts = _smallest(name, weight, base.get(name), kept)
            tensors |= {name + part: value.detach().cpu().contiguous() for part, value in parts.items()}
            forms |= {name: form} if form else {}
        return cls(tensors, forms, kept)

    @torch.no_grad()
    def write_into(self, places: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> None:
        """Write every weight into its place, on any device; `base` is the untouched model."""
        for name, form in self.forms.items():
            self._write(name, form, places[name], base)
        for name, value in self.tensors.items():
            if name.partition(":")[0] not in self.forms:
                places[name].copy_(value)

    def _write(self, name: str, form: Form, place: Tensor, base: Mapping[str, Tensor]) -> None:
        if form["form"] == "zeros":
            place.zero_()
            return
        if form["form"] == "codes":
            grid = _grid(self.kept[form["step"]], name, place)
            assert grid is not None
            codes = _unpacked(self.tensors[f"{name}:codes"], form["width"], place)
            place.copy_(grid.values(codes.float().add_(form["lowest"])))
            if "mask" in form:
                place.masked_fill_(self._mask(name, form["mask"], place), 0)
            return
        values = self.tensors.get(f"{name}:values")
        if values is None:
            place.copy_(base[name])
        if form["form"] == "masked":
            mask = self._mask(name, form["step"], place)
            if values is not None:
                place.masked_scatter_(~mask, values.to(place.device))
            place.masked_fill_(mask, 0)

    def _mask(self, name: str, step: int | None, place: Tensor) -> Tensor:
        """The mask that a step kept, or one of its own, bool as the place."""
        bits = self.tensors[f"{name}:mask"] if step is None else self.kept[step][name]
        return _unpacked(bits, 1, place).bool()


def _unpacked(bits: Tensor, width: int, place: Tensor) -> Tensor:
    """A number for each weight of a place, on its device."""
    return bit_fields.unpack(bits.to(place.device), width, place.numel()).view(place.shape)


def _smallest(name: str, weight: Tensor, base: Tensor | None, kept: Kept) -> Choice:
    """The smallest form that gives a weight back."""
    bits = bits_of(weight)
    zero = bits == 0
    moved = None if base is None else bits != bits_of(base.to(weight.device))
    if moved is not None and not bool(moved.any()):
        return {"form": "base", "step": None}, {}
    if bool(zero.all()):
        return {"form": "zeros", "step": None}, {}
    if moved is not None and not bool((moved & ~zero).any()):
        return _masked(name, moved, zero, kept)
    choice = _coded(name, weight, zero, kept) or (None, {"": weight})
    if int(torch.count_nonzero(bits)) * weight.element_size() < _size(choice):
        form, own = _masked(name, zero, zero, kept)
        choice = min(choice, (form, {**own, ":values": weight[~zero]}), key=_size)
    return choice


def _size(choice: Choice) -> int:
    return sum(part.nbytes for part in choice[1].values())


def _coded(name: str, weight: Tensor, zero: Tensor, kept: Kept) -> Choice | None:
    """Codes on the last grid kept that gives the weight back, or all of it but zeros, which then are masked."""
    for step in reversed(range(len(kept))):
        grid = _grid(kept[step], name, weight)
        if grid is None:
            continue
        form: dict[str, Any] = {"form": "codes", "step": step}
        mask: dict[str, Tensor] = {}
        codes = level_codes(weight, grid)
        if codes is None and bool(zero.any()):
            codes = level_codes(torch.where(zero, grid.round(weight).to(weight.dtype), weight), grid)
            masked, mask = _masked(name, zero, zero, kept)
            form["mask"] = masked["step"]
        if codes is not None:
            lowest = int(codes.min())
            width = max(1, (int(codes.max()) - lowest).bit_length())
            return {**form, "width": width, "lowest": lowest}, {
                ":codes": bit_fields.pack(codes - lowest, width),
                **mask,
            }
    return None


def _masked(name: str, needed: Tensor, allowed: Tensor, kept: Kept) -> tuple[Form, dict[str, Tensor]]:
    """The last mask kept that says `needed` and nothing beyond `allowed`; where there is none, a mask of its own."""
    least, most = (bit_fields.pack(mask, 1) for mask in (needed, allowed))
    for step in reversed(range(len(kept))):
        mask = kept[step].get(name)
        if mask is not None and mask.dtype == torch.uint8 and mask.shape == least.shape:
            here = mask.to(least.device)
            if not bool(((least & ~here) | (here & ~most)).any()):
                return {"form": "masked", "step": step}, {}
    return {"form": "masked", "step": None}, {":mask": least}


def _grid(kept: Mapping[str, Tensor], name: str, weight: Tensor) -> Grid | None:
    """The grid that a step kept for `weight [out, in]`; None where it kept none that fits."""
    grid = kept_grids.restore(kept, name, _EVEN, weight.device)
    if grid is None or weight.dim() != 2 or any(len(part) != len(weight) or part.dim() != 2 for part in grid.parts):
        return None
    columns, groups = weight.shape[1], {part.shape[1] for part in grid.parts}
    fits = columns % max(groups) == 0 if grid.index is None else len(grid.index) == columns
    return grid if fits and len(groups) == 1 else None
