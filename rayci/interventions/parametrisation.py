"""What methods share that train a loss with AdamW: the weights themselves, or low-rank updates of them.

A method trains inside `trainer`, whichever of both is asked for: loops, losses and references are the same. Rates and
clipping that fit weights need not fit adapters: on the testbed NPO_KLR, which trains weights at 1e-3 without a clip,
ruins the model with adapters under some draws, and does not as
`npo_klr{parametrisation=lora, lr=1.5e-3, clip_norm=1, alpha=3, epochs=3}`: hazard .24 to .27, utility .91 to .99.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from rayci.context import Context
from rayci.intervention import Intervention
from rayci.interventions.low_rank import Targets, adaptable, low_rank_trainer
from rayci.interventions.low_rank_work import LowRankWorkload
from rayci.interventions.trainer import MICRO_TOKENS, MicroTokens, Trainer, adamw
from rayci.model.step_memory import Storage
from rayci.settings import LATER
from rayci.subject import Subject
from rayci.workload import Workload


class Parametrised(Intervention, ABC):
    """A method that trains weights with an optimiser of its own."""

    lr: Annotated[float, Field(gt=0)] = 1e-5
    """Learning rate of Adam, constant."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay: AdamW where it is not 0."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of a step's gradients over all trained parameters, longer ones are scaled down; None = no limit."""
    storage: Storage = "bfloat16"
    """Precision of the weights between steps: the published baselines trained bf16 models without fp32 masters."""
    micro_tokens: MicroTokens = MICRO_TOKENS
    """Most tokens, padding included, of a batch that go forward and back at a time; one item does in any case.
    The gradient is that of the batch."""
    parametrisation: Annotated[Literal["full", "lora"], LATER] = "full"
    """`full` trains the weights themselves; `lora` trains low-rank updates of linears, W + (α/r)·B·A, and merges
    them at the end. Adapters are fp32, `storage` is the precision of the merged weights."""
    lora_rank: Annotated[int, LATER, Field(ge=1)] = 8
    """r: rank of every update."""
    lora_alpha: Annotated[float, LATER, Field(gt=0)] = 16.0
    """α: scale of the updates; it is divided by the rank."""
    lora_targets: Annotated[Targets, LATER] = "all"
    """Which linears get an update, of those that the method trains: all, or those of `attention` or of the `mlp`."""

    def optimizer(self, weights: list[Tensor]) -> Optimizer:
        """Steps these weights: AdamW as torch has it, unless a subclass says otherwise."""
        return adamw(weights, self.lr, self.weight_decay)

    def void_settings(self) -> Mapping[str, str]:
        void = dict(super().void_settings())
        if self.parametrisation == "full":
            unread = "the weights themselves are trained (parametrisation = full)"
            void |= dict.fromkeys(("lora_rank", "lora_alpha", "lora_targets"), unread)
        return void

    def trained(self, subject: Subject, names: Iterable[str]) -> tuple[str, ...]:
        """Those of these parameters that a training of them changes; RequestError where no linear fits."""
        if self.parametrisation == "full":
            return tuple(names)
        return adaptable(subject, names, self.lora_targets, self.lora_rank)

    def trainer(self, subject: Subject, context: Context, names: Iterable[str]) -> AbstractContextManager[Trainer]:
        """A trainer of these parameters, all of them `trained`; what it learns is in the model when it ends."""
        made = self.optimizer, self.storage, self.clip_norm
        if self.parametrisation == "full":
            return Trainer(subject, names, *made)
        return low_rank_trainer(
            subject,
            names,
            *made,
            rank=self.lora_rank,
            alpha=self.lora_alpha,
            generator=context.generator("adapters"),
            among=self.changes(subject),
        )

    def as_trained(self, work: Workload) -> Workload:
        """The workload in which adapters take the place of the weights that are trained, where they do."""
        return work if self.parametrisation == "full" else LowRankWorkload.of(work, self.lora_rank)
