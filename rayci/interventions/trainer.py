"""Gradient training with fp32 arithmetic and an explicit storage precision of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from rayci.errors import InterventionError, RequestError
from rayci.intervention import Receipt
from rayci.model.encoding import Batch
from rayci.model.likelihood import cross_entropy
from rayci.subject import Subject

Storage = Literal["float32", "bfloat16"]
"""Precision in which weights are kept between steps. `bfloat16` loses updates below half a
unit in the last place, as the published bf16 baselines do; it decides whether a later
4-bit quantisation brings forgotten knowledge back."""


class Trainer:
    """Steps an optimiser over fp32 masters of the named parameters and writes them to the model.

    Only these parameters get gradients and optimiser state; every other one stays bit for bit.
    """

    def __init__(
        self,
        subject: Subject,
        names: Iterable[str],
        optimizer: Callable[[list[Tensor]], Optimizer],
        storage: Storage = "float32",
        clip_norm: float | None = None,
    ) -> None:
        self._parameters = subject.parameters_of(names)
        if not self._parameters:
            raise InterventionError("no parameters to train")
        for parameter in subject.model.parameters():
            parameter.requires_grad_(False)
        for parameter in self._parameters.values():
            parameter.requires_grad_(True)
        self._masters = [p.detach().to(torch.float32, copy=True) for p in self._parameters.values()]
        self._optimizer = optimizer(self._masters)
        self._storage, self._clip_norm = storage, clip_norm

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of the trained parameters."""
        return tuple(self._parameters)

    @property
    def masters(self) -> Mapping[str, Tensor]:
        """The fp32 weights that the optimiser steps, by parameter name."""
        return dict(zip(self._parameters, self._masters, strict=True))

    @torch.no_grad()
    def step(self, after: Callable[[Mapping[str, Tensor]], None] | None = None) -> None:
        """One optimiser step with the gradients gathered by `backward`; `after` may project the masters.

        Where their norm over all trained parameters exceeds `clip_norm`, the gradients are scaled down to it.
        """
        for parameter, master in zip(self._parameters.values(), self._masters, strict=True):
            # None where the loss does not reach a parameter; optimisers leave such ones alone
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        if self._clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._masters, self._clip_norm)
        self._optimizer.step()
        if after is not None:
            after(self.masters)
        self.write()

    @torch.no_grad()
    def write(self) -> None:
        """Round the masters to the storage precision and copy them to the model."""
        for parameter, master in zip(self._parameters.values(), self._masters, strict=True):
            if self._storage == "bfloat16":
                master.copy_(master.bfloat16())
            parameter.copy_(master)

    def receipt(self, **counts: float) -> Receipt:
        """The receipt of a training: exactly the trained parameters changed."""
        return Receipt(self.names, counts)


def batch_loss(subject: Subject, batch: Batch) -> Tensor:
    """Mean cross-entropy of the model on a batch, differentiable."""
    moved = batch.to(subject.device)
    return cross_entropy(batch_logits(subject, moved), moved.labels)


def batch_logits(subject: Subject, batch: Batch) -> Tensor:
    """Logits of the model on a batch that lies on the subject's device, `[items, tokens, vocabulary]`."""
    output = subject.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    logits: Tensor = output.logits
    return logits


def block_parameters(subject: Subject, blocks: Iterable[int]) -> list[str]:
    """Full names of all parameters of the blocks with these indices."""
    root = subject.paths.blocks
    return [f"{root}.{index}.{name}" for index in blocks for name, _ in subject.block(index).named_parameters()]


def projection_weights(subject: Subject, layers: Iterable[int]) -> list[str]:
    """Full names of the `mlp_out` weights of these layers; RequestError where a layer does not exist."""
    chosen = list(layers)
    missing = [str(layer) for layer in chosen if not 0 <= layer < len(subject.blocks)]
    if missing:
        several = f"layers {', '.join(missing)} do" if missing[1:] else f"layer {missing[0]} does"
        raise RequestError(f"{several} not exist", allowed=f"0 to {len(subject.blocks) - 1}")
    return [f"{subject.paths.blocks}.{layer}.{subject.paths.mlp_out}.weight" for layer in chosen]
