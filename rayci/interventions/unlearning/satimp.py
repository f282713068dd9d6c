"""SatImp: gradient ascent on tokens that are neither forgotten nor certain.

    min mean_t p^β₁·(1 − p)^β₂ · log p_θ(y_t) + α·CE(retain),  p = p_θ(y_t), the weight without a gradient

arXiv 2505.11953, section 5: p^β₁ is saturation, a token that is forgotten counts no more; (1 − p)^β₂ stands for
importance, what everybody would predict counts little. The mean is over the labelled tokens of a batch; β₂ = 0 is
`wga`.

Defaults: the authors' on Llama-2-7B for TOFU, as in their entry of OpenUnlearning: β₁ 5, β₂ 1, the retain loss a tenth
of the forget loss, AdamW lr 1e-5 (Phi-1.5: 2e-5), batches of 16, 5 epochs. Preset `tofu` trains on answers;
`muse_news` and `muse_books` are their configuration for MUSE: 8 epochs of batches of 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.intervention import Preset
from rayci.interventions.unlearning.forget_retain import ChosenRetain
from rayci.interventions.unlearning.frozen import Before
from rayci.interventions.unlearning.loop_settings import MUSE, TESTBED
from rayci.interventions.unlearning.terms import Part, Term

_MUSE: Mapping[str, Any] = {**MUSE, "batch": 16, "epochs": 8}


def saturation_importance(part: Part[Before], settings: SaturationImportance) -> Tensor:
    """−CE of tokens that count most while they are likely and not certain."""
    known = part.log_probs.detach()
    doubt = -torch.expm1(known)  # 1 − p, exact where p is nearly 1
    weight = (settings.saturation * known).exp() * doubt.clamp(min=0) ** settings.importance
    return part.mean(weight * part.log_probs)


class SaturationImportance(ChosenRetain):
    """Gradient ascent weighted by saturation and importance of each token."""

    name: ClassVar[str] = "satimp"
    paper: ClassVar[str] = "arXiv 2505.11953 (2025)"
    forget_term: ClassVar[Term[Any]] = Term(saturation_importance, Before)
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **TESTBED,
            "last_layers": 2,
            "batch": 4,
            "epochs": 2,
            "samples": 192,
            "max_tokens": 256,
            "lr": 1e-3,
            "saturation": 0.3,
            "alpha": 1.0,
        },
        "tofu": {"loss_on": "answer"},
        "muse_news": _MUSE,
        "muse_books": _MUSE,
    }

    saturation: Annotated[float, Field(ge=0)] = 5.0
    """β₁: power of the probability, which takes weight from forgotten tokens."""
    importance: Annotated[float, Field(ge=0)] = 1.0
    """β₂: power of its complement, which takes weight from certain tokens."""
    alpha: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the retain loss."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Items in a batch."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over the samples."""
