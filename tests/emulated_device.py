"""Devices that are none: a tensor says `lazy:0` or `lazy:1`, and its numbers lie in a CPU tensor.

What mixes devices in a way that CUDA refuses is refused here, so that code for GPUs is tried where
there is none. `lazy` is a type of device that torch knows, that no build computes on, and whose
backward pass runs in the thread that asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
"""May read one device and write another."""
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Take indices that lie on the CPU."""


class DeviceMixError(RuntimeError):
    """What CUDA would say."""


class Emulated(Tensor):
    """A tensor on a device that is none."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> Emulated:
        made: Emulated = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=device,
        )
        made.held = held
        return made

    @property
    def data(self) -> Tensor:
        """Numbers without history."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        assert isinstance(value, Emulated), "streaming is not emulated"
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.held = value.held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Numbers as Python has them."""
        return self.held.tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Emulated({self.held!r}, device={self.device})"


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """`torch.tensor` makes its tensor before any operation is dispatched."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is Tensor.new_tensor and isinstance(args[0], Emulated):
            like, values = args
            return torch.tensor(values, **{"dtype": like.dtype, **kwargs}).to(like.device)
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Emulated):
            args = (args[0], _index(args[1]), *args[2:])
        return func(*args, **kwargs)


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.tensor(index) if isinstance(index, list) else index


@contextmanager
def emulated_devices() -> Iterator[None]:
    """While it is on, `lazy:0` and so on are devices."""
    with _Operations(), _Literals():
        yield


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, if the real devices would."""
    leaves, form = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    device = common_device(func, tensors, kwargs)
    home = None if device is None or device.type == "cpu" else device
    held = {id(t.held): t for t in tensors if isinstance(t, Emulated)}
    plain = [leaf.held if isinstance(leaf, Emulated) else on_cpu(leaf) for leaf in leaves]
    inner_args, inner_kwargs = tree_unflatten(plain, form)
    generator = kwargs.get("generator")
    if generator is not None and home is not None and generator.device.type != home.type:
        raise DeviceMixError(f"{func}: a generator of the {generator.device} on {home}")
    result = func(*inner_args, **inner_kwargs)

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in held:
            return held[id(value)]
        return Emulated(value, home) if home is not None else value

    return tree_map(wrapped, result)


def on_cpu(leaf: Any) -> Any:
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == "lazy" else leaf


def common_device(func: Any, tensors: list[Tensor], kwargs: dict[str, Any]) -> torch.device | None:
    """Where the result lies; DeviceMixError where the inputs lie on several devices."""
    asked = kwargs.get("device")
    if func in MOVES:
        return tensors[0].device if asked is None else torch.device(asked)
    if func in INDEXING:
        tensors = [t for t in tensors if t.device.type != "cpu"] or tensors
    large = [t for t in tensors if t.dim() > 0 or t.device.type != "cpu"] or tensors
    devices = {t.device for t in large}
    if len(devices) > 1:
        raise DeviceMixError(f"{func}: expected all tensors on the same device, found {sorted(map(str, devices))}")
    if asked is not None:
        return torch.device(asked)
    return next(iter(devices), None)
