"""One trained parameter: its fp32 master, the optimiser's state of it, and where both are between steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rayci.model.step_memory import Storage


class Stepped:
    """Steps fp32 masters of a parameter, and leaves them in it in the precision of `storage`.

    A parameter that holds what is stored of it is its own master between steps. What else there is, and
    the optimiser's state, waits in host memory where `on_host` says so: the same arithmetic on the same numbers.
    """

    def __init__(
        self,
        parameter: nn.Parameter,
        optimizer: Callable[[list[Tensor]], Optimizer],
        storage: Storage = "float32",
        *,
        on_host: bool = False,
    ) -> None:
        self.parameter = parameter
        self._rounded, self._on_host = storage == "bfloat16", on_host
        self._shared = parameter.dtype == torch.float32
        self._own = not self._shared and parameter.dtype != getattr(torch, storage)
        self._master = parameter.detach().float() if self._own else parameter.detach()
        self._optimizer = optimizer([self._master])
        self._waiting: dict[str, Tensor] = {}
        self._leave()

    @property
    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers of each weight, by its name for it."""
        found = self._optimizer.state[self._master].items()
        return {name: value for name, value in found if isinstance(value, Tensor) and value.dim()}

    def set_rate(self, rate: float) -> None:
        """The learning rate from the next step on."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def step(self, gradient: Tensor, after: Callable[[Tensor], None] | None = None) -> None:
        """One step along a gradient, fp32; `after` may change the master in place before it is stored."""
        with self.master() as master:
            master.grad = gradient
            self._optimizer.step()
            master.grad = None
            if after is not None:
                after(master)

    @contextmanager
    def shifted(self, by: Tensor) -> Iterator[Tensor]:
        """Inside, the parameter is its master plus `by`, as near as its dtype comes, and then what it was bit for bit.

        Gives how far it is off, a norm.
        """
        value = self.parameter.detach()
        before = self._to_host("before", value) if self._on_host else value.clone()
        held = self._master if self._own else value
        moved = (held.to(value.device, torch.float32) + by).to(value.dtype)
        distance = torch.dist(moved, value).float()
        value.copy_(moved)
        del by, moved  # as large as the parameter
        try:
            yield distance
        finally:
            value.copy_(before)

    @contextmanager
    def master(self) -> Iterator[Tensor]:
        """Inside, the fp32 master, to be changed in place; afterwards the parameter holds what is stored of it."""
        self._fetch()
        yield self._master
        if self._rounded:
            self._master.copy_(self._master.bfloat16())
        if not self._shared:
            self.parameter.copy_(self._master)
        self._leave()

    def _fetch(self) -> None:
        if not self._shared:
            held = self._master if self._own else self.parameter.detach()
            self._master.data = held.to(self.parameter.device, torch.float32, non_blocking=True)
        if self._on_host:
            for name, value in self.state.items():
                self._optimizer.state[self._master][name] = value.to(self.parameter.device, non_blocking=True)

    def _leave(self) -> None:
        if self._on_host:
            for name, value in self.state.items():
                self._optimizer.state[self._master][name] = self._to_host(name, value)
        if self._own and self._on_host:
            self._master.data = self._to_host("master", self._master)
        elif not self._shared and not self._own:
            self._master.data = self.parameter.detach()

    def _to_host(self, name: str, value: Tensor) -> Tensor:
        """The value in host memory that is its own from the first time on, pinned where the device is a GPU."""
        if name not in self._waiting:
            self._waiting[name] = torch.empty_like(value, device="cpu", pin_memory=self.parameter.is_cuda)
        return self._waiting[name].copy_(value, non_blocking=True)
