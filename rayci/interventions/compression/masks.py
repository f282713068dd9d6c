"""Zero masks: how pruners keep them in a receipt and put them back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rayci.codec import bit_fields
from rayci.intervention import Receipt
from rayci.model import modules
from rayci.subject import Subject


def pack(mask: Tensor) -> Tensor:
    """A bool mask as bits on the CPU, uint8 `[ceil(elements / 8)]`, least significant bit first."""
    return bit_fields.pack(mask, 1).cpu()


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """The bool mask of `shape` that `pack` packed."""
    return bit_fields.unpack(bits, 1, shape.numel()).view(shape).bool()


@torch.no_grad()
def reapply(subject: Subject, kept: Mapping[str, Tensor]) -> Receipt:
    """Zero the kept masks again; `kept` maps linear names to packed masks, True = pruned."""
    for name, module in subject.linears(placed=True):
        if name in kept:
            weight = modules.weight(module)
            weight[unpack(kept[name].to(weight.device), weight.shape)] = 0
    return Receipt(subject.weight_names(kept), {"linears": len(kept)}, kept=kept)
