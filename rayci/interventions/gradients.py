"""Gradients of a step: fp32 sums over its backward passes, whatever the dtype of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Gradients:
    """Inside `with`, every backward pass adds what it finds of these parameters; `take` hands the sums out.

    fp32 parameters gather them in `.grad`, as torch does. Those of fewer bits give each gradient up as soon as it is
    there: sums in bf16 would lose most of what many small passes add, and all at once would take as much as the model.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self._sums: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, parameter in self._parameters.items():
            if parameter.dtype != torch.float32:
                self._hooks.append(parameter.register_post_accumulate_grad_hook(self._adding(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.take()

    def take(self) -> dict[str, Tensor]:
        """The sums by name since the last time, without what no loss has reached; they start anew."""
        sums, self._sums = self._sums, {}
        found = {}
        for name, parameter in self._parameters.items():
            gradient = parameter.grad.float() if parameter.grad is not None else sums.get(name)
            parameter.grad = None
            if gradient is not None:
                found[name] = gradient
        return found

    def _adding(self, name: str) -> Callable[[Tensor], None]:
        def add(parameter: Tensor) -> None:
            assert parameter.grad is not None
            if name in self._sums:
                self._sums[name].add_(parameter.grad)
            else:
                self._sums[name] = parameter.grad.float()
            parameter.grad = None

        return add
