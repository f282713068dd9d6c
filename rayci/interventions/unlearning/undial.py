"""UNDIAL: self-distillation on the reference's logits, lowered at the token that is to be forgotten.

    min mean_t CE(softmax(z_ref − β·1[y_t]), p_θ) + α·(retain term)

arXiv 2402.10052: the target of every forget token y_t is the frozen model's own distribution with
the logit of y_t reduced by β, so that there is something to converge to and nothing runs away. The mean is over the
labelled tokens of a batch. Gradients are those of KL(target ‖ p_θ), from which the loss differs by a constant.

Defaults: the paper's on Llama-2-7B, as its authors give them for the TOFU benchmark of OpenUnlearning: LoRA of rank 8
and α 16, AdamW lr 1e-4, batches of 16, 10 epochs, β 10 of {3, 10, 30}, no retain term. Preset `tofu` trains on answers.
Deviation: OpenUnlearning's code averages over padding and prompts too, where its targets are wrong (−100 as an index
lowers another token's logit). The frozen model is no second model: see `frozen.Distributions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rayci.intervention import Preset
from rayci.interventions.unlearning.forget_retain import ChosenRetain
from rayci.interventions.unlearning.frozen import Distributions
from rayci.interventions.unlearning.loop_settings import TESTBED
from rayci.interventions.unlearning.terms import Part, Retain, Term


def undial_losses(logits: Tensor, reference: Tensor, tokens: Tensor, strength: float) -> Tensor:
    """Cross-entropy of each row `[rows]` to the reference's distribution without its token, in nats.

    Both logits are `[rows, vocabulary]`, `strength` is taken from the reference's at `tokens`, `[rows]`.
    """
    with torch.no_grad():
        lowered = torch.full_like(reference[:, :1], -strength)
        target = reference.scatter_add(-1, tokens.unsqueeze(-1), lowered).softmax(-1)
    return -(target * torch.log_softmax(logits, dim=-1)).sum(-1)


def self_distillation(part: Part[Distributions], settings: SelfDistillation) -> Tensor:
    """Predict what the model would have predicted had it not known the token."""

    def each(now: Tensor, before: Tensor, tokens: Tensor) -> Tensor:
        return undial_losses(now, before, tokens, settings.beta)

    return part.mean(part.before.compared(part.places, part.found, each))


class SelfDistillation(ChosenRetain):
    """Self-distillation on logits that are lowered at the forget tokens; low-rank by default."""

    name: ClassVar[str] = "undial"
    paper: ClassVar[str] = "arXiv 2402.10052 (2024)"
    parts: ClassVar[frozenset[str]] = frozenset({"forget"})
    forget_term: ClassVar[Term[Any]] = Term(self_distillation, Distributions)
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **TESTBED,
            "last_layers": 3,
            "loss_on": "answer",
            "samples": 128,
            "epochs": 15,
            "lr": 5e-3,
            "retain": "ce",
        },
        "tofu": {"loss_on": "answer"},
    }

    beta: Annotated[float, Field(gt=0)] = 10.0
    """β: what is taken from the logit of a token that is to be forgotten; the paper tries 3, 10, 30."""
    retain: Retain = "none"
    """Retain term: `none`; `ce`, cross-entropy of the retain items; `kl`, divergence from the model before training."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of Adam, constant."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Items in a batch."""
    parametrisation: Literal["full", "lora"] = "lora"
    """`full` trains the weights themselves; `lora` trains low-rank updates of linears, W + (α/r)·B·A, and merges
    them at the end. Adapters are fp32, `storage` is the precision of the merged weights."""
