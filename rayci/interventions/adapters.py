"""Low-rank adapters on linears, through peft: put on, seeded, taken off.

    lora      W + (α/r)·B·A             A ~ U(±1/√in), B = 0
    adalora   W + (α/rank)·B·diag(E)·A  A, B ~ N(0, .02), E = 0

Initial values are peft's distributions, drawn from the context's stream on the CPU: peft
itself draws from the global one. Adapters are fp32 whatever the model's dtype: peft keeps them so
only inside its `PeftModel`, injected as here they would take the dtype of their linear.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rayci.model import modules
from rayci.subject import Subject

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel


def is_transposed(subject: Subject) -> bool:
    """Whether the linears store their weight `[in, out]`, which peft must be told."""
    return modules.is_conv1d(modules.linear(subject.blocks[0], subject.paths.attention_in[0]))


@contextmanager
def adapted(
    subject: Subject, config: Any, generator: torch.Generator, widths: Mapping[str, int] | None = None
) -> Iterator[LoraModel]:
    """The model with fresh fp32 adapters; whatever is not merged when the block ends is taken off.

    `widths`: linears, in the model's order with their numbers of inputs, for all of which plain LoRA draws, so that
    a linear's values do not depend on which others are adapted; by default those that are.
    """
    from peft import AdaLoraConfig
    from peft.tuners.adalora import AdaLoraModel
    from peft.tuners.lora import LoraModel

    kind = AdaLoraModel if isinstance(config, AdaLoraConfig) else LoraModel
    with torch.random.fork_rng(devices=[]):  # what peft draws is replaced below
        tuner = kind(subject.model, config, "default")
    try:
        _to_single_precision(tuner)
        if kind is AdaLoraModel:
            tuner.rankallocator = one_device_ranks()(tuner.model, tuner.peft_config["default"], "default")
        if kind is AdaLoraModel:
            _draw_normal(tuner, generator)
        else:
            _draw_uniform(tuner, generator, widths)
        yield tuner
    finally:
        tuner.unload()


def parts(tuner: LoraModel, part: str) -> list[Tensor]:
    """One part of all adapters (`lora_A` `[r, in]`, `lora_B` `[out, r]`, `lora_E` `[r, 1]`), in the model's order."""
    return [value for name, value in tuner.model.named_parameters() if f".{part}." in name]


@cache
def one_device_ranks() -> type[Any]:
    """peft's allocation of ranks, also where the adapters lie on several devices: it compares all of them."""
    from peft.tuners.adalora.layer import RankAllocator

    class OneDeviceRanks(RankAllocator):
        @property
        def _home(self) -> torch.device:
            scores: dict[str, Tensor] = self.ipt
            return next(iter(scores.values())).device

        def _element_score(self, n: str) -> Any:
            return super()._element_score(n).to(self._home)  # type: ignore[no-untyped-call]

        def mask_to_budget(self, model: nn.Module, budget: int) -> Any:
            own = {name: value.data for name, value in model.named_parameters() if ".lora_" in name}
            copies = {name: value.to(self._home) for name, value in own.items()}
            seen = SimpleNamespace(named_parameters=copies.items)
            pattern = super().mask_to_budget(seen, budget)  # type: ignore[no-untyped-call]
            for name in pattern:
                own[name].copy_(copies[name])
            return pattern

    return OneDeviceRanks


def _to_single_precision(tuner: LoraModel) -> None:
    """Adapters and AdaLoRA's ranks in fp32; the linears cast their input to it, and the sum back."""
    for name, value in tuner.model.named_parameters():
        if ".lora_" in name or ".ranknum." in name:
            value.data = value.data.float()


@torch.no_grad()
def _draw_normal(tuner: LoraModel, generator: torch.Generator) -> None:
    for right, left in zip(parts(tuner, "lora_A"), parts(tuner, "lora_B"), strict=True):
        right.copy_(torch.randn(right.shape, generator=generator) * 0.02)
        left.copy_(torch.randn(left.shape, generator=generator) * 0.02)


@torch.no_grad()
def _draw_uniform(tuner: LoraModel, generator: torch.Generator, widths: Mapping[str, int] | None) -> None:
    split = ((name.partition(".lora_A."), value) for name, value in tuner.model.named_parameters())
    adapters = {linear: value for (linear, found, _), value in split if found}
    rank = len(next(iter(adapters.values())))
    for linear, width in (widths or {linear: value.shape[1] for linear, value in adapters.items()}).items():
        drawn = (torch.rand(rank, width, generator=generator) * 2 - 1) * (1 / math.sqrt(width))
        if linear in adapters:
            adapters[linear].copy_(drawn)
