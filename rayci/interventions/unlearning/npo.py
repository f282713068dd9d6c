"""NPO, NPO_GDR and NPO_KLR: negative preference optimisation, alone or with a retain term.

    NPO:     min −(2/β)·mean log σ(−β·log(p_θ(x) / p_ref(x)))
    NPO_GDR: min NPO + α·CE(retain)
    NPO_KLR: min NPO + α·KL(p_θ(retain) ‖ p_ref(retain))

arXiv 2404.05868, equation 3, with the settings of MUSE (arXiv 2407.06460) and the retain weights
of arXiv 2410.16454. The log-ratio is summed over the labelled tokens of a sequence, the loss is
the mean over sequences; at p_θ = p_ref its gradient is that of the mean sequence log-likelihood,
so it starts as gradient ascent. p_ref is taken once, before the first step. The two KL and CE
terms are means over the labelled tokens of a batch.

This textbook form saturates on long documents: at β = .1 and 2000 tokens the gradient has all but
vanished once a document is .02 nats a token less likely. MUSE's code takes differences of raw
logits, entry by entry, for log-ratios, so no number that MUSE published follows from the textbook
form. `length_normalised` divides each sequence's log-ratio by its labelled tokens, as SimNPO
(arXiv 2410.07163) does, but keeps p_ref. Further deviations: MUSE's code gave KL raw logits too, and
cuts one long text into windows; documents here come as they are and are cut at `max_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rayci.effort import Effort
from rayci.intervention import Preset
from rayci.interventions.batches import Drawn
from rayci.interventions.unlearning.loop_settings import BOOKS, NEWS, TESTBED, ForgetRetain
from rayci.interventions.unlearning.terms import ForgetTerm, Preference
from rayci.subject import Subject
from rayci.workload import Workload

_TESTBED: dict[str, Any] = {
    **TESTBED,
    "last_layers": 2,
    "batch": 4,
    "epochs": 2,
    "samples": 192,
    "max_tokens": 256,
    "lr": 1e-3,
}
"""Of the two with a retain term. β is smaller than .1, at which log-ratios of whole documents would soon end all
unlearning; without a retain term every token of the text would ruin the model, so NPO alone takes the answers'."""


class NegativePreference(ForgetRetain):
    """Negative preference optimisation on the forget text; trains every parameter by default."""

    name: ClassVar[str] = "npo"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **TESTBED,
            "last_layers": 3,
            "lr": 7e-5,
            "loss_on": "answer",
            "samples": 128,
            "batch": 16,
            "epochs": 10,
            "beta": 1.0,
        },
        "muse_news": NEWS,
        "muse_books": BOOKS,
    }

    beta: Annotated[float, Field(gt=0)] = 0.1
    """β: how soon the loss lets go of an item that has become less likely."""
    length_normalised: bool = False
    """Divide each sequence's log-ratio by its labelled tokens; a β that fits is larger then."""

    def operations(self, work: Workload) -> Effort:
        """And a pass over the forget items before training."""
        return super().operations(work) + self._compared(work) / self.epochs

    def forget_term(self, subject: Subject, forget: Drawn) -> ForgetTerm:
        normalised = self.length_normalised
        return Preference(subject, self.beta, forget, self.batch, self.micro_tokens, length_normalised=normalised)


class NegativePreferenceDescent(NegativePreference):
    """Negative preference optimisation with descent on as much retain text."""

    name: ClassVar[str] = "npo_gdr"
    parts: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    retain_loss: ClassVar[Literal["none", "ce", "kl"]] = "ce"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"beta": 0.01, "alpha": 2.0},
        "muse_news": {**NEWS, "alpha": 1.0},
        "muse_books": {**BOOKS, "alpha": 300.0},
    }

    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the retain loss; the grid of the literature: 2, 5, 10, 100, 300."""

    @property
    def retain_weight(self) -> float:
        return self.alpha


class NegativePreferenceKL(NegativePreferenceDescent):
    """Negative preference optimisation while retain predictions stay close to those before training."""

    name: ClassVar[str] = "npo_klr"
    retain_loss: ClassVar[Literal["none", "ce", "kl"]] = "kl"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"beta": 0.01, "alpha": 2.0},
        "muse_news": {**NEWS, "alpha": 1.0},
        "muse_books": {**BOOKS, "alpha": 2.0},
    }
