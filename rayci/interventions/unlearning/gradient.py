"""GA, GD and GA_KLR: gradient ascent on the forget set, alone or with a retain term.

    GA:            min −CE(forget)
    GD (= GA_GDR): min −CE(forget) + α·CE(retain)
    GA_KLR:        min −CE(forget) + α·KL(p_θ(retain) ‖ p_ref(retain))

Defaults of GA and GD: arXiv 2407.06483, table 7 (α = 40 there; its text says 400). Presets
`muse_news`, `muse_books` and all defaults of GA_KLR: MUSE (arXiv 2407.06460) with the retain
weights of arXiv 2410.16454. CE and KL are means over the labelled tokens of a batch, padding
excluded; KL compares log-softmaxed outputs. Deviations: the authors of arXiv 2407.06483 also trained
the final norm and the head, padded on the left with padding that carried labels, and dropped the
last batches of an epoch where they were fewer than `accumulation`, which make a step here; MUSE's
code gave KL raw logits, and cuts one long text into windows, where documents here come as they are
and are cut at `max_tokens`.

Without a retain term ascent on whole texts destroys a model within a few steps, on the testbed too.
What leaves it usable there: every parameter, the answers' tokens alone, a low rate and an early stop,
`ga{last_layers=null, lr=3e-5, loss_on=answer, samples=128, batch=16, epochs=20, stop_loss=6}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from rayci.intervention import Preset
from rayci.interventions.unlearning.forget_retain import ForgetRetain, WithRetain
from rayci.interventions.unlearning.frozen import Before
from rayci.interventions.unlearning.loop_settings import BOOKS, NEWS, TESTBED
from rayci.interventions.unlearning.terms import CROSS_ENTROPY, DIVERGENCE, Part, Term

_TESTBED: dict[str, Any] = {
    **TESTBED,
    "last_layers": 2,
    "batch": 4,
    "accumulation": 1,
    "epochs": 1,
    "max_tokens": 256,
}
"""What these methods share on the testbed: two of four blocks, a step for every batch."""


def ascent(part: Part[Before], settings: object) -> Tensor:
    """−CE: its minimum is a model that finds the forget items as unlikely as it can."""
    return part.mean(part.log_probs)


ASCENT = Term(ascent, Before)


class GradientAscent(ForgetRetain):
    """Gradient ascent on the forget text; trains all parameters of the last decoder blocks."""

    name: ClassVar[str] = "ga"
    paper: ClassVar[str] = "arXiv 2210.01504 (2022)"
    forget_term: ClassVar[Term[Any]] = ASCENT
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"lr": 1e-3, "samples": 72},
        "muse_news": NEWS,
        "muse_books": BOOKS,
    }

    last_layers: Annotated[int, Field(ge=1)] | None = 16
    """How many decoder blocks are trained, counted from the end; None trains every parameter."""
    lr: Annotated[float, Field(gt=0)] = 5e-5
    """Learning rate of Adam, constant."""
    samples: Annotated[int, Field(ge=1)] | None = 50
    """Forget items, balanced over topics, and as many retain items; None takes all forget items."""
    batch: Annotated[int, Field(ge=1)] = 4
    """Items in a batch."""
    accumulation: Annotated[int, Field(ge=1)] = 2
    """Batches whose gradients are averaged for one step."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Passes over the samples."""
    max_tokens: Annotated[int, Field(ge=2)] = 1024
    """Longer documents are cut."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of a step's gradients over all trained parameters, longer ones are scaled down; None = no limit."""


class GradientDifference(GradientAscent, WithRetain):
    """Gradient ascent on the forget text and descent on as much retain text."""

    name: ClassVar[str] = "gd"
    paper: ClassVar[str] = "arXiv 2203.12817 (2022)"
    retain_term: ClassVar[Term[Any] | None] = CROSS_ENTROPY
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"lr": 2e-3, "samples": 192, "alpha": 4.0},
        "muse_news": {**NEWS, "alpha": 1.0},
        "muse_books": {**BOOKS, "alpha": 100.0},
    }

    alpha: Annotated[float, Field(ge=0)] = 40.0
    """Weight of the retain loss."""


class GradientAscentKL(WithRetain):
    """Gradient ascent on the forget text while retain predictions stay close to those before training."""

    name: ClassVar[str] = "ga_klr"
    paper: ClassVar[str] = "arXiv 2407.06460 (2024)"
    forget_term: ClassVar[Term[Any]] = ASCENT
    retain_term: ClassVar[Term[Any] | None] = DIVERGENCE
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"lr": 1e-3, "samples": 192, "alpha": 4.0},
        "muse_news": {**NEWS, "alpha": 1.0},
        "muse_books": {**BOOKS, "alpha": 2.0},
    }
