"""What methods build from a model and a text, take long for, and can use again: where it is kept.

In a sweep that is the stage store (`rayci.storage.objects`); for a model object in a process of its own, memory.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from rayci.fingerprint import fingerprint
from rayci.units import GIB

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Build = Callable[[], Mapping[str, "Tensor"]]


class Objects(Protocol):
    """A place for them."""

    def built(self, model: PreTrainedModel, what: Any, build: Build) -> Mapping[str, Tensor]:
        """What `build` makes of the model as it is now and of all that `what` says, as JSON values; tensors to read.

        They are on the CPU, and built once by whoever asks first.
        """


class InMemory:
    """Objects in this process, named by the weights' content; those used least recently go first."""

    def __init__(self, most: int = 8 * GIB) -> None:
        """`most`: bytes that are kept; the covariances of Llama-3-8B's five layers take 4 GiB."""
        self._most = most
        self._kept: OrderedDict[str, Mapping[str, Tensor]] = OrderedDict()

    def built(self, model: PreTrainedModel, what: Any, build: Build) -> Mapping[str, Tensor]:
        key = fingerprint([what, _digest(model)])
        if key not in self._kept:
            self._kept[key] = {name: value.detach().cpu() for name, value in build().items()}
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self._bytes() > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _bytes(self) -> int:
        return sum(value.nbytes for kept in self._kept.values() for value in kept.values())


IN_MEMORY = InMemory()


def _digest(model: PreTrainedModel) -> str:
    """Identity of a model by its configuration and the bits of its weights."""
    import torch

    state = hashlib.sha256(model.config.to_json_string().encode())
    for name, value in model.named_parameters():
        data = value.detach().cpu().contiguous()
        state.update(f"{name} {data.dtype} {tuple(data.shape)} ".encode())
        state.update(data.view(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
