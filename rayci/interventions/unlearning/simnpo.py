"""SimNPO: negative preference optimisation without a reference, on the mean log-probability of a sequence.

    min −(2/β)·mean log σ(−(β/|y|)·log p_θ(y) − γ) + α·CE(retain)

arXiv 2410.07163; γ is `margin`, the mean is over sequences, |y| counts labelled tokens. A sequence that
is already unlikely, whatever it was before training, is pushed less; NPO lets go of one that has become less likely.

Defaults: the paper's on TOFU, forget10, Llama-2-7B-chat: β 4.5, γ 0, AdamW lr 1e-5, 10 epochs. Its code weighs the
forget term by .125 and the retain term by 1: that is α = 8, and gradients that it clips to norm 1 are here eight times
as long. Preset `tofu` trains on answers, as TOFU does, `wmdp` has the weights, rate and steps of the authors'
configuration for Zephyr-7B on WMDP-bio. Deviations: their TOFU and MUSE code multiplies γ by β (`margin` is that
product), and their MUSE code takes raw logits, entry by entry, for the log-probability, as MUSE's NPO does, so no
number that they published on MUSE follows from the equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rayci.intervention import Preset
from rayci.interventions.unlearning.forget_retain import ChosenRetain
from rayci.interventions.unlearning.frozen import Before
from rayci.interventions.unlearning.loop_settings import NEWS, TESTBED
from rayci.interventions.unlearning.terms import Part, Term


def simnpo_loss(mean_log_prob: Tensor, beta: float, margin: float) -> Tensor:
    """−(2/β)·mean log σ(−β·l − γ) over items, l their mean log-probability a token, `[items]`."""
    return -2.0 / beta * F.logsigmoid(-beta * mean_log_prob - margin).mean()


def simple_preference(part: Part[Before], settings: SimpleNegativePreference) -> Tensor:
    """Like ascent, but weaker the less likely an item already is, per token."""
    return simnpo_loss(part.log_probs.sum(-1) / part.lengths, settings.beta, settings.margin) * part.share


class SimpleNegativePreference(ChosenRetain):
    """Negative preference optimisation without a reference model, normalised by length."""

    name: ClassVar[str] = "simnpo"
    paper: ClassVar[str] = "arXiv 2410.07163 (2024)"
    forget_term: ClassVar[Term[Any]] = Term(simple_preference, Before)
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **TESTBED,
            "last_layers": 2,
            "batch": 4,
            "epochs": 3,
            "samples": 192,
            "max_tokens": 256,
            "lr": 1e-3,
            "weight_decay": 0.0,
            "beta": 0.1,
            "alpha": 6.0,
        },
        "tofu": {"loss_on": "answer"},
        "wmdp": {"beta": 0.1, "alpha": 1.0, "lr": 9.5e-6, "weight_decay": 0.0, "batch": 4, "max_steps": 500},
        "muse_news": {**NEWS, "beta": 0.75, "margin": 2.25, "alpha": 0.1},
        "muse_books": {**NEWS, "beta": 0.7, "margin": 0.0, "alpha": 0.1},
    }

    beta: Annotated[float, Field(gt=0)] = 4.5
    """β: how soon the loss lets go of an unlikely item; the paper's grids: 2.5 to 5.5 on TOFU, .7 and .75 on MUSE."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """γ: how much less likely than the loss's middle an item shall become, in units of β nats a token."""
    alpha: Annotated[float, Field(ge=0)] = 8.0
    """Weight of the retain loss."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay: AdamW where it is not 0."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 8.0
    """Largest norm of a step's gradients over all trained parameters, longer ones are scaled down; None = no limit."""
