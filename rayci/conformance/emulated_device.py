"""A device that is none: a tensor says that it lies on `lazy:0`, and its numbers lie in a CPU tensor.

What mixes devices in a way that CUDA refuses is refused here, so that code for GPUs can be tried
where there is none. `lazy` is a type of device that torch knows, that no build computes on, and
whose backward pass runs in the thread that asks for it. Not emulated: kernels of a GPU, their
rounding, streams and memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from rayci.subject import Subject

FIRST, SECOND = torch.device("lazy:0"), torch.device("lazy:1")

_ops = torch.ops.aten
_MOVES = {_ops._to_copy.default, _ops.copy_.default}
"""May read one device and write another."""
_INDEXING = {
    _ops.index.Tensor,
    _ops.index_put.default,
    _ops.index_put_.default,
    _ops._index_put_impl_.default,
}
"""Take indices that lie on the CPU."""


class DeviceMixError(RuntimeError):
    """What CUDA would refuse."""


class Emulated(Tensor):
    """A tensor on a device that is none."""

    held: Tensor
    """Its numbers."""

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> Emulated:
        made: Emulated = Tensor._make_wrapper_subclass(
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
        """The tensor without its history."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Emulated):
            raise NotImplementedError("'Lazy' backend: data of another device in the place of a tensor's own")
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.held = value.held

    def tolist(self) -> Any:
        """The numbers as Python's own."""
        return self.held.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        """Refused, as by a GPU."""
        raise DeviceMixError(f"can't convert a tensor on {self.device} to numpy: .cpu() first")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _dispatch(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Emulated({self.held!r}, device={self.device})"


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Python numbers become tensors before any operation is dispatched: here they do so on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if args and isinstance(args[0], Emulated):
            if func is Tensor.new_tensor:
                return torch.tensor(args[1], **{"dtype": args[0].dtype, **kwargs}).to(args[0].device)
            if func in (Tensor.__getitem__, Tensor.__setitem__):
                args = (args[0], _index(args[1]), *args[2:])
        return func(*args, **kwargs)


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.tensor(index) if isinstance(index, list) else index


@contextmanager
def emulated_devices() -> Iterator[None]:
    """Inside, `lazy:0` and so on are devices; DeviceMixError where they are mixed."""
    with _Operations(), _Literals():  # type: ignore[no-untyped-call]
        yield


@contextmanager
def on_a_device(subject: Subject) -> Iterator[None]:
    """Inside, the subject's model lies on an emulated device; AssertionError where something mixes devices.

    Skips the test where the emulation is at its end.
    """
    with emulated_devices():
        subject.model.to(FIRST)  # type: ignore[arg-type]
        try:
            yield
        except DeviceMixError as error:
            raise AssertionError(f"tensors that a GPU refuses together: {error}") from error
        except NotImplementedError as error:
            if "'Lazy' backend" in str(error):
                pytest.skip(f"not emulated: {str(error).split(' This could be')[0]}")
            raise
        subject.model.to("cpu")  # type: ignore[arg-type]


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, if the real devices would do it."""
    leaves, form = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    home = _place(func, tensors, kwargs)
    generator = kwargs.get("generator")
    if generator is not None and home.type != generator.device.type:
        raise DeviceMixError(f"{func}: a generator of the {generator.device} draws for {home}")
    places = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, Emulated)}
    inner_args, inner_kwargs = tree_unflatten([_on_cpu(leaf) for leaf in leaves], form)

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or home.type == "cpu":
            return value
        return places[id(value)] if id(value) in places else Emulated(value, home)

    return tree_map(wrapped, func(*inner_args, **inner_kwargs))


def _on_cpu(leaf: Any) -> Any:
    if isinstance(leaf, Emulated):
        return leaf.held
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == FIRST.type else leaf


def _place(func: Any, tensors: list[Tensor], kwargs: dict[str, Any]) -> torch.device:
    """Where the result lies; DeviceMixError where the inputs lie on several devices."""
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    if func in _MOVES:
        return asked or tensors[0].device
    if func in _INDEXING:
        tensors = [tensor for tensor in tensors if tensor.device.type != "cpu"] or tensors
    # a CPU tensor of one number goes with tensors of any device
    devices = {tensor.device for tensor in tensors if tensor.dim() or tensor.device.type != "cpu"}
    if len(devices) > 1:
        raise DeviceMixError(f"{func}: expected all tensors on the same device, found {sorted(map(str, devices))}")
    return asked or next(iter(devices), torch.device("cpu"))
