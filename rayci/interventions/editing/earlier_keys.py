"""Keys of edits that a chain has written already: state that its receipts carry, and nothing else.

Every closed-form step leaves the keys K that it wrote into each layer. They are those that the layer sees afterwards
too, as the authors of arXiv 2410.02355 read them: a layer's input depends on the layers below, which are written first.
What other steps do later to the model leaves them as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from rayci.subject import Subject


def kept(keys: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """What a receipt keeps of K `[in, edits]` of each layer: fp32 `[edits, in]` on the CPU."""
    return {_name(layer): own.T.float().cpu().contiguous() for layer, own in keys.items()}


def earlier_keys(subject: Subject, layers: Iterable[int]) -> dict[int, Tensor]:
    """K_p `[in, earlier edits]` of each of these layers that an applied step wrote into, in the order of the chain.

    On the CPU, and the same bit for bit where the steps came from a store.
    """
    names = {layer: _name(layer) for layer in layers}
    found = {layer: [r.kept[name] for r in subject.receipts if name in r.kept] for layer, name in names.items()}
    return {layer: torch.cat(own).T for layer, own in found.items() if own}


def _name(layer: int) -> str:
    return f"keys.{layer}"
