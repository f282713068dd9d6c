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

Sharpness-aware steps (arXiv 2502.05374; `sam_radius` ρ > 0) take the gradient of the NPO term, not that of the retain
term, at θ + ρ·g/‖g‖, g being its gradient at θ over all batches of a step and all trained parameters: so that what was
forgotten is harder to learn again. bf16 weights round most of so small a shift away, in the authors' code as here; fp32
masters (`storage: float32`) and the adapters of `parametrisation: lora` keep it, and `sam_shift` in the receipt tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.intervention import Preset
from rayci.interventions.unlearning.forget_retain import ForgetRetain, WithRetain
from rayci.interventions.unlearning.frozen import Likelihoods
from rayci.interventions.unlearning.loop import Loop
from rayci.interventions.unlearning.loop_settings import BOOKS, NEWS, TESTBED
from rayci.interventions.unlearning.terms import CROSS_ENTROPY, DIVERGENCE, Part, Term
from rayci.model.likelihood import npo_loss
from rayci.settings import LATER
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


def negative_preference(part: Part[Likelihoods], settings: NegativePreference) -> Tensor:
    """Like ascent, but weaker the less likely an item already is than before training."""
    log_ratio = part.log_probs.sum(-1) - part.before.of(part.places).to(part.log_probs.device)
    each = log_ratio / part.lengths if settings.length_normalised else log_ratio
    return npo_loss(each, settings.beta) * part.share


class NegativePreference(ForgetRetain):
    """Negative preference optimisation on the forget text; trains every parameter by default."""

    name: ClassVar[str] = "npo"
    paper: ClassVar[str] = "arXiv 2404.05868 (2024)"
    forget_term: ClassVar[Term[Any]] = Term(negative_preference, Likelihoods)
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
    sam_radius: Annotated[float, LATER, Field(ge=0)] = 0.0
    """ρ: norm of the shift at which the forget loss takes its gradient, over all trained parameters; 0 = at the
    weights themselves. The paper: .01 on MUSE."""

    def prepare(self, subject: Subject, context: Context) -> Loop:
        return replace(super().prepare(subject, context), radius=self.sam_radius)

    def operations(self, work: Workload) -> Effort:
        """And the forget batches once more for the shift."""
        again = self._passing(work, work.changed_by(self)) if self.sam_radius else 0.0
        return super().operations(work) + again

    def training_memory(self, work: Workload, names: Collection[str]) -> int:
        """And the weights without the shift, where they lie beside it."""
        waits = work.waits_on_host(names, self.storage)
        copies = 0 if waits or not self.sam_radius else work.copied_bytes(names)
        return super().training_memory(work, names) + copies

    def waiting_memory(self, work: Workload, names: Collection[str]) -> int:
        """Or on the host."""
        waits = work.waits_on_host(names, self.storage)
        copies = work.element * work.elements(names) if waits and self.sam_radius else 0
        return super().waiting_memory(work, names) + copies


class NegativePreferenceDescent(NegativePreference, WithRetain):
    """Negative preference optimisation with descent on as much retain text."""

    name: ClassVar[str] = "npo_gdr"
    retain_term: ClassVar[Term[Any] | None] = CROSS_ENTROPY
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"beta": 0.01, "alpha": 2.0},
        "muse_news": {**NEWS, "alpha": 1.0},
        "muse_books": {**BOOKS, "alpha": 300.0},
    }


class NegativePreferenceKL(NegativePreference, WithRetain):
    """Negative preference optimisation while retain predictions stay close to those before training."""

    name: ClassVar[str] = "npo_klr"
    retain_term: ClassVar[Term[Any] | None] = DIVERGENCE
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": _TESTBED | {"beta": 0.01, "alpha": 2.0},
        "muse_news": {**NEWS, "alpha": 1.0},
        "muse_books": {**BOOKS, "alpha": 2.0},
    }
