"""Gradient training with fp32 arithmetic and an explicit storage precision of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from rayci.errors import InterventionError, RequestError
from rayci.intervention import Receipt
from rayci.interventions.gradients import Gradients
from rayci.interventions.stepped import Stepped
from rayci.model.step_memory import StepMemory, Storage
from rayci.settings import Speed
from rayci.subject import Subject

MICRO_TOKENS = 8192
"""Tokens that occupy a GPU in full: more at a time take memory and save nothing."""
MicroTokens = Annotated[int, Speed(least=256), Field(ge=1)]
"""A setting: how much of a batch goes forward and back at a time."""


class Trainer:
    """Steps an optimiser over fp32 masters of the named parameters and writes them to the model.

    Only these parameters get gradients and optimiser state; every other one stays bit for bit. To be
    entered before the first backward pass. `on_host` puts masters and moments into host memory between steps; None
    does so where a GPU has no room for them.
    """

    def __init__(
        self,
        subject: Subject,
        names: Iterable[str],
        optimizer: Callable[[list[Tensor]], Optimizer],
        storage: Storage = "float32",
        clip_norm: float | None = None,
        *,
        on_host: bool | None = None,
    ) -> None:
        parameters = subject.parameters_of(names)
        if not parameters:
            raise InterventionError("no parameters to train")
        for parameter in subject.model.parameters():
            parameter.requires_grad_(False)
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        self.changed = tuple(parameters)
        """Full names of the parameters of the model that training changes."""
        self._clip_norm = clip_norm
        self._gradients = Gradients(parameters)
        waits = _lacks_room(subject, parameters, storage) if on_host is None else on_host
        self.stepped = {n: Stepped(p, optimizer, storage, on_host=waits) for n, p in parameters.items()}
        """The trained parameters by name."""

    def __enter__(self) -> Self:
        self._gradients.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gradients.__exit__(kind, error, trace)

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of the trained parameters."""
        return tuple(self.stepped)

    def set_rate(self, rate: float) -> None:
        """The learning rate from the next step on, in place of the optimiser's own."""
        for stepped in self.stepped.values():
            stepped.set_rate(rate)

    @torch.no_grad()
    def step(self, after: Callable[[str, Tensor], None] | None = None) -> None:
        """One optimiser step with the gradients of all backward passes since the last one.

        Where their norm over all trained parameters exceeds `clip_norm`, they are scaled down to it. `after` may
        change each master in place, and is told its name. Parameters that no loss reaches stay.
        """
        gradients = self._gradients.take()
        if self._clip_norm is not None:
            clip(list(gradients.values()), self._clip_norm)
        for name in list(gradients):
            self.stepped[name].step(gradients.pop(name), after and partial(after, name))

    @contextmanager
    def ahead(self, radius: float) -> Iterator[float]:
        """Inside, the parameters are `radius` up the gradients since the last step, which are used up by it.

        The shift is radius·g/‖g‖, the norm over all of them. What their dtype cannot tell from the parameters is lost:
        in bf16, where there are no masters to add it to, that is most of it. Gives the norm of what is left.
        """
        gradients = self._gradients.take()
        norm = torch.nn.utils.get_total_norm(list(gradients.values()))
        with ExitStack() as stack:
            moved = []
            for name in list(gradients):
                gradient = gradients.pop(name)
                scale = (radius / norm.clamp(min=1e-12)).to(gradient.device)
                moved.append(stack.enter_context(self.stepped[name].shifted(gradient.mul_(scale))).to(norm.device))
            yield float(torch.stack(moved).norm())

    def skip(self) -> None:
        """Drop the gradients of all backward passes since the last step."""
        self._gradients.take()

    @torch.no_grad()
    def revise(self, change: Callable[[str, Tensor], object]) -> None:
        """Change every master in place, one after the other, and write it to the model."""
        for name, stepped in self.stepped.items():
            with stepped.master() as master:
                change(name, master)

    def start(self) -> dict[str, Tensor]:
        """What `rescale` has to know of the weights as they are before training, in host memory."""
        return {name: stepped.parameter.detach().to("cpu", copy=True) for name, stepped in self.stepped.items()}

    def rescale(self, start: Mapping[str, Tensor], factor: float) -> None:
        """Multiply what every weight has moved by since `start`."""
        self.revise(lambda name, weight: rescaled(start[name].to(weight), weight, factor))

    def receipt(self, **counts: float) -> Receipt:
        """The receipt of a training: exactly the trained parameters changed."""
        return Receipt(self.changed, counts)


def adam(weights: list[Tensor], lr: float) -> Optimizer:
    """torch's Adam without weight decay, in one kernel a step on a GPU."""
    return Adam(weights, lr=lr, fused=fused(weights))


def adamw(weights: list[Tensor], lr: float, weight_decay: float) -> Optimizer:
    """torch's AdamW, in one kernel a step on a GPU."""
    return AdamW(weights, lr=lr, weight_decay=weight_decay, fused=fused(weights))


@torch.no_grad()
def rescaled(start: Tensor, weight: Tensor, factor: float) -> Tensor:
    """start + factor·(weight − start), in the place of `weight`."""
    return weight.sub_(start).mul_(factor).add_(start)


def fused(weights: list[Tensor]) -> bool | None:
    """Whether an optimiser of these weights is to take torch's fused kernels; None leaves it to torch."""
    return True if all(weight.is_cuda for weight in weights) else None


def clip(gradients: list[Tensor], limit: float) -> None:
    """Scale gradients in place so that their norm over all of them is at most `limit`, as torch does."""
    scale = (limit / (torch.nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.to(gradient.device))


def block_parameters(subject: Subject, blocks: Iterable[int]) -> list[str]:
    """Full names of all parameters of the blocks with these indices."""
    root = subject.paths.blocks
    return [f"{root}.{index}.{name}" for index in blocks for name, _ in subject.block(index).named_parameters()]


def last_blocks(subject: Subject, last_layers: int | None) -> tuple[str, ...]:
    """Names of all parameters of the last decoder blocks; None means the whole model, embeddings included."""
    if last_layers is None:
        return tuple(name for name, _ in subject.model.named_parameters())
    count = len(subject.blocks)
    if last_layers > count:
        raise RequestError(
            f"layer {count - last_layers} does not exist: last_layers = {last_layers}", allowed=f"1 to {count}"
        )
    return tuple(block_parameters(subject, range(count - last_layers, count)))


def projection_weights(subject: Subject, layers: Iterable[int]) -> list[str]:
    """Full names of the `mlp_out` weights of these layers; RequestError where a layer does not exist."""
    chosen = list(layers)
    missing = [str(layer) for layer in chosen if not 0 <= layer < len(subject.blocks)]
    if missing:
        several = f"layers {', '.join(missing)} do" if missing[1:] else f"layer {missing[0]} does"
        raise RequestError(f"{several} not exist", allowed=f"0 to {len(subject.blocks) - 1}")
    return [f"{subject.paths.blocks}.{layer}.{subject.paths.mlp_out}.weight" for layer in chosen]


def _lacks_room(subject: Subject, names: Iterable[str], storage: Storage) -> bool:
    """Whether the GPUs that the model lies on have no room for masters and moments too."""
    gpus = {value.device for value in subject.model.parameters() if value.is_cuda}
    if not gpus:
        return False
    least = min(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus)
    return StepMemory(subject, gpus=len(gpus), device_memory=least).waits_on_host(tuple(names), storage)
