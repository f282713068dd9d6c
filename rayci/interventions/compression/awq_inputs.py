"""What AWQ needs of a block's calibration inputs, from one pass over the dense block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rayci.errors import InterventionError
from rayci.interventions.compression.awq_scales import Loss, linear_loss
from rayci.interventions.compression.folding import Fold
from rayci.interventions.compression.walk import BlockInputs
from rayci.interventions.gram import Gram
from rayci.model import modules

AT_ONCE = 2**26
"""Elements of |x| that are summed at once. One sum in the authors' order gives their scales bit for
bit: clipping both ends of a group puts its zero half-way between two codes, where the last bit decides."""


@dataclass
class Seen:
    """Statistics of one group of linears with a common input."""

    absolute: Tensor
    """Σ |x| without `pending`, fp32 `[in]`."""
    pending: list[Tensor] = field(default_factory=list)
    """x not yet summed: often a view of what `Part.calls` holds anyway."""
    samples: list[Tensor] = field(default_factory=list)
    """Every `step`-th token, fp32."""
    gram: Gram | None = None
    """Σ x xᵀ, where the loss is that of one linear."""
    tokens: int = 0

    def add(self, x: Tensor, step: int, *, gram: bool) -> None:
        """Take in further tokens `[tokens, in]`."""
        self.pending.append(x)
        if sum(part.numel() for part in self.pending) > AT_ONCE:
            self._sum()
        self.samples.append(x[-self.tokens % step :: step].to(torch.float32, copy=True))
        if gram:
            self.gram = self.gram or Gram(x.shape[1], x.device)
            self.gram.add(x)
        self.tokens += len(x)

    @property
    def mean(self) -> Tensor:
        """Mean |x|, `[in]`."""
        if self.pending:
            self._sum()
        return self.absolute / self.tokens

    def _sum(self) -> None:
        self.absolute += torch.cat(self.pending).float().abs_().sum(0)
        self.pending.clear()

    @property
    def sample(self) -> Tensor:
        """The sampled tokens, `[tokens, in]`."""
        return torch.cat(self.samples)


@dataclass
class Part:
    """Calls and outputs of an inspected module, a batch each, kept where the block's states are."""

    module: nn.Module
    device: torch.device
    """Where the module computes."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def loss(self, linears: list[modules.Linear]) -> Loss:
        """Mean squared difference of the module's output with other weights in its linears.

        Squares only add up, so a pass ends with the batch that takes it beyond the least loss so far.
        """
        weights = [modules.weight(module) for module in linears]
        count = sum(output.numel() for output in self.outputs)

        def loss(candidates: Sequence[Tensor], least: float) -> float:
            total = 0.0
            own = [weight.clone() for weight in weights]
            try:
                for weight, candidate in zip(weights, candidates, strict=True):
                    weight.copy_(candidate)
                for (args, kwargs), output in zip(self.calls, self.outputs, strict=True):
                    there, named = _on(self.device, (args, kwargs))
                    now = _first(self.module(*there, **named)).float()
                    total += float((now - output.to(self.device).float()).square().sum())
                    if total / count >= least:
                        break
            finally:
                for weight, value in zip(weights, own, strict=True):
                    weight.copy_(value)
            return total / count

        return loss


@dataclass
class Observed:
    """Everything seen in one pass over a dense block."""

    inputs: BlockInputs
    seen: dict[str, Seen]
    """By the first path of a group."""
    parts: dict[str, Part]
    """By the path of an inspected module that is not a linear."""

    def loss(self, place: Fold) -> Loss:
        """The output error of a group that is scaled."""
        linears = [modules.linear(self.inputs.block, path) for path in place.linears]
        if place.inspected in self.parts:
            return self.parts[place.inspected].loss(linears)
        seen = self.seen[place.linears[0]]
        assert seen.gram is not None
        return linear_loss(modules.weight(linears[0]).clone(), seen.gram.total, seen.tokens)


def look(inputs: BlockInputs, places: list[Fold], step: int) -> Observed:
    """Run the dense block once; its outputs become the next block's inputs."""
    block = inputs.block
    single = {place.linears[0] for place in places if place.inspected == place.linears[0]}
    parts = {place.inspected: Part(block.get_submodule(place.inspected), inputs.device) for place in places}
    parts = {path: part for path, part in parts.items() if path not in single}
    seen: dict[str, Seen] = {}

    def add(path: str, x: Tensor) -> None:
        if path not in seen:
            seen[path] = Seen(torch.zeros(x.shape[-1], device=x.device))
        seen[path].add(x, step, gram=path in single)

    watcher = partial(_watcher, kept_on=inputs.batches[0][0].device)
    hooks = [part.module.register_forward_hook(watcher(part), with_kwargs=True) for part in parts.values()]
    try:
        inputs.observe(add, advance=True)
    finally:
        for hook in hooks:
            hook.remove()
    for path, statistics in seen.items():
        if not bool(torch.isfinite(statistics.mean).all()):
            raise InterventionError(f"awq: activations into {inputs.name}.{path} are not finite")
    return Observed(inputs, seen, parts)


def _watcher(part: Part, kept_on: torch.device) -> Any:
    """A hook that keeps the calls and outputs of an inspected module."""

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        part.calls.append(_on(kept_on, (args, kwargs)))
        part.outputs.append(_first(output).to(kept_on))

    return keep


def _on(device: torch.device, arguments: Any) -> Any:
    """Arguments of a call with their tensors on a device."""
    return tree_map_only(Tensor, lambda value: value.to(device), arguments)


def _first(output: Any) -> Tensor:
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
