"""Bytes of live tensors, counted as torch makes and frees them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryMeter(TorchDispatchMode):
    """Inside, `peak` is the most that tensors made here took at one time, in bytes.

    Every storage counts once, however many views it has, until nothing refers to it. Tensors
    that are there already (`known`) count nothing; neither does what a kernel allocates and
    frees within one operation.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: int = 0
        self.peak: int = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._sizes: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        if key not in self._watched:
            self._watched[key] = weakref.ref(storage, lambda _: self._freed(key))
        self.live += storage.nbytes() - self._sizes.get(key, 0)  # a storage may grow
        self._sizes[key] = storage.nbytes()
        self.peak = max(self.peak, self.live)

    def _freed(self, key: int) -> None:
        del self._watched[key]
        self.live -= self._sizes.pop(key)


def peak_of(model: torch.nn.Module, work: Any) -> int:
    """Most bytes beyond the model's own tensors while `work()` runs."""
    with MemoryMeter((*model.parameters(), *model.buffers())) as meter:
        work()
    return int(meter.peak)
