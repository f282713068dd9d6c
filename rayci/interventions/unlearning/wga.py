"""WGA: gradient ascent whose tokens weigh less the less likely they already are.

    min mean_t p_θ(y_t)^a · log p_θ(y_t) + α·CE(retain),  the weight p_θ(y_t)^a without a gradient

arXiv 2502.19301: ascent's gradient grows like 1/p as a token is forgotten and ruins the model; the weight
takes that back, and a = 1 takes back all of it. The mean is over the labelled tokens of a batch; a = 0 is `gd`.

Defaults: the authors' on Llama-2-7B for TOFU: a 1, AdamW lr 1e-5 (Phi-1.5: 2e-5), batches of 16, 5 epochs, no weight
decay, and the retain term of their entry in OpenUnlearning, CE with weight 1. Preset `tofu` trains on answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from rayci.intervention import Preset
from rayci.interventions.unlearning.forget_retain import ChosenRetain
from rayci.interventions.unlearning.frozen import Before
from rayci.interventions.unlearning.loop_settings import TESTBED
from rayci.interventions.unlearning.terms import Part, Term


def weighted_ascent(part: Part[Before], settings: WeightedAscent) -> Tensor:
    """−CE of tokens that count by how likely they still are."""
    weight = (settings.power * part.log_probs.detach()).exp()
    return part.mean(weight * part.log_probs)


class WeightedAscent(ChosenRetain):
    """Gradient ascent weighted by each token's probability."""

    name: ClassVar[str] = "wga"
    paper: ClassVar[str] = "arXiv 2502.19301 (2025)"
    forget_term: ClassVar[Term[Any]] = Term(weighted_ascent, Before)
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **TESTBED,
            "last_layers": 2,
            "batch": 4,
            "epochs": 2,
            "samples": 192,
            "max_tokens": 256,
            "lr": 2e-3,
            "power": 0.3,
            "alpha": 2.0,
        },
        "tofu": {"loss_on": "answer"},
    }

    power: Annotated[float, Field(ge=0)] = 1.0
    """a: power of the probability that weighs a token."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Items in a batch."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over the samples."""
