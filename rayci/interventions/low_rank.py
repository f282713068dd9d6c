"""Training of linears through low-rank updates that are merged at the end.

    W ← W + (α/r)·B·A,  A `[r, in]` ~ U(±1/√in), B `[out, r]` = 0;  A and B are trained, W is frozen

arXiv 2106.09685, equation 3, without dropout. The model computes W·x + (α/r)·B·(A·x) while it trains, which at the
start is what it was. A and B, their gradients and the optimiser's state are fp32 whatever the model's dtype and
`storage`: an update that starts at 0 loses nothing to rounding, and the merged sum is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from rayci.errors import RequestError
from rayci.interventions.adapters import adapted, is_transposed, parts
from rayci.interventions.trainer import Trainer
from rayci.model import modules
from rayci.model.experts import Expert
from rayci.model.step_memory import Storage
from rayci.subject import Subject

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel

Targets = Literal["all", "attention", "mlp"]
"""Linears of a block: all, those of attention, or those of the MLP."""


def adaptable(subject: Subject, names: Iterable[str], targets: Targets, rank: int) -> tuple[str, ...]:
    """Those of these parameters that are weights of the targets, in the model's order.

    RequestError where there are none, where one is a stack of experts, or where the rank is above a weight's own.
    """
    wanted = set(names)
    chosen = {
        name: module for name, module in _linears(subject, targets) if modules.parameter_name(name, module) in wanted
    }
    for name, module in chosen.items():
        if isinstance(module, Expert):
            raise RequestError(
                f"lora adapts single linears, and {modules.parameter_name(name, module)} holds those of all experts",
                allowed="lora_targets = attention, or parametrisation = full",
                key=("lora_targets",),
            )
        most = min(modules.weight(module).shape)
        if rank > most:
            raise RequestError(
                f"lora_rank = {rank} is above the rank that {name} can have",
                allowed=f"1 to {most}",
                key=("lora_rank",),
            )
    if not chosen:
        raise RequestError(
            f"lora finds no linear to adapt: lora_targets = {targets}",
            allowed=f"those among {', '.join(sorted(wanted)[:3])} …",
            key=("lora_targets",),
        )
    return tuple(f"{name}.weight" for name in chosen)


@contextmanager
def low_rank_trainer(
    subject: Subject,
    names: Iterable[str],
    optimizer: Callable[[list[Tensor]], Optimizer],
    storage: Storage,
    clip_norm: float | None,
    *,
    rank: int,
    alpha: float,
    generator: torch.Generator,
    among: Iterable[str] = (),
) -> Iterator[Trainer]:
    """A trainer of fresh adapters on the linears with these weights; what it has learnt is merged at the end.

    Those that are chosen `among` others start as they would beside all of them.
    After an exception the adapters are taken off and the weights are as before.
    """
    from peft import LoraConfig

    weights = tuple(names)
    drawn = {name.removesuffix(".weight") for name in (*weights, *among)}
    widths = {name: modules.weight(linear).shape[1] for name, linear in subject.linears() if name in drawn}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft divides it by r
        target_modules=[name.removesuffix(".weight") for name in weights],
        fan_in_fan_out=is_transposed(subject),
    )
    with adapted(subject, config, generator, widths) as tuner:
        with LowRankTrainer(subject, tuner, weights, optimizer, clip_norm) as trainer:
            yield trainer
        merge(tuner, storage)


class LowRankTrainer(Trainer):
    """Steps the adapters of some weights; its receipt names these."""

    def __init__(
        self,
        subject: Subject,
        tuner: LoraModel,
        merged: tuple[str, ...],
        optimizer: Callable[[list[Tensor]], Optimizer],
        clip_norm: float | None,
    ) -> None:
        names = [name for name, _ in tuner.model.named_parameters() if ".lora_" in name]
        super().__init__(subject, names, optimizer, "float32", clip_norm)
        self.changed = merged
        self._outer = parts(tuner, "lora_B")

    def start(self) -> dict[str, Tensor]:
        """Nothing: B·A is what the weights have moved by."""
        return {}

    @torch.no_grad()
    def rescale(self, start: Mapping[str, Tensor], factor: float) -> None:
        """B·A alone is multiplied."""
        for outer in self._outer:
            outer.mul_(factor)


@torch.no_grad()
def merge(tuner: LoraModel, storage: Storage) -> None:
    """Add (α/r)·B·A to the weights in fp32, rounded once to what is stored."""
    from peft.tuners.lora import Linear

    for layer in tuner.model.modules():
        if isinstance(layer, Linear):
            weight = layer.get_base_layer().get_parameter("weight")
            merged = layer.get_delta_weight("default").add_(weight)
            weight.copy_(merged.bfloat16() if storage == "bfloat16" else merged)


def _linears(subject: Subject, targets: Targets) -> Iterator[tuple[str, modules.Linear]]:
    attention = {*subject.paths.attention_in, subject.paths.attention_out}
    for name, module in subject.linears():
        path = name.removeprefix(f"{subject.paths.blocks}.").partition(".")[2]
        if targets == "all" or (path in attention) == (targets == "attention"):
            yield name, module
