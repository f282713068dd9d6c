"""Seconds of steps and readings from floating-point operations, where nobody has measured them.

    forward 2·P·tokens, forward and backward 6·P·tokens, P = parameters that the tokens pass

at a share of the device's peak that is stated here. An estimate, within a factor of a few: data
loading, decoding token by token and launches are left out, texts are as long as `Texts` says.
"""

from __future__ import annotations

from rayci.criterion import Criterion
from rayci.forecast.memory import UNREAD
from rayci.intervention import Intervention
from rayci.interventions.editing.finetuning import FineTuning
from rayci.interventions.editing.lora import LowRank
from rayci.interventions.editing.memit import Memit
from rayci.interventions.unlearning.latent import LatentAdversarialMisdirection
from rayci.interventions.unlearning.loop_settings import LoopSettings
from rayci.interventions.unlearning.rmu import RepresentationMisdirection
from rayci.interventions.unlearning.sure import Sure
from rayci.model.shapes import Sketch
from rayci.workload import Texts, Workload

RATES = {"A100": 312e12 * 0.4, "cpu": 2e10}
"""Operations a second: 40 % of an A100's bf16 peak; one CPU core's fp32 products as torch makes them."""
_DOCUMENTS = 1000
"""Documents of a forget set of unknown size."""
_DOCUMENT_TOKENS = 480
"""Mean tokens of a calibration document: C4's."""
_EVALUATION_TOKENS = 300_000
"""Tokens of the text for perplexity: WikiText-2's test split."""
_QUESTIONS = {"wmdp": 3260, "mmlu": 14042}
"""Questions: WMDP's biology and cyber parts, MMLU's test split."""
_PROMPTS = 7
"""Prompts that MEMIT runs for one edit."""


class Operations:
    """Counts of floating-point operations on one model."""

    def __init__(self, sketch: Sketch, *, edits: int = 50, replicates: int = 1, texts: Texts = UNREAD) -> None:
        self._subject, self._parameters = sketch.subject, sketch.parameters
        self._edits, self._replicates, self._texts = edits, replicates, texts
        self._context = sketch.subject.context_length

    def step(self, intervention: Intervention) -> float | None:
        """Operations of applying a step; None for a method that is not known here."""
        if type(intervention).operations is not Intervention.operations:
            work = Workload(self._subject, self._edits, self._replicates, self._texts)
            return intervention.operations(work)
        forward, backward = 2.0 * self._parameters, 6.0 * self._parameters
        if isinstance(intervention, Sure):
            return self.step(intervention.inner)
        if isinstance(intervention, Memit):
            depth = (intervention.layers[-1] + 1) / len(self._subject.blocks)
            tokens = intervention.documents * min(_DOCUMENT_TOKENS, intervention.max_tokens)
            rows = self._edits * _PROMPTS * (self._texts.edit + intervention.context_tokens)
            # one model's covariances serve all edit batches
            return forward * depth * tokens / self._replicates + backward * (1 - depth) * rows * intervention.passes
        if isinstance(intervention, FineTuning):
            return backward * intervention.steps * self._edits * self._texts.edit
        if isinstance(intervention, LowRank):
            retain = intervention.retain_batch * intervention.max_tokens if intervention.retain_weight else 0
            return intervention.steps * (backward * self._edits * self._texts.edit + (backward + forward) * retain)
        if isinstance(intervention, RepresentationMisdirection):
            return self._misdirection(intervention)
        return self._loop(intervention) if isinstance(intervention, LoopSettings) else None

    def reading(self, criterion: Criterion) -> float:
        """Operations of one measurement."""
        if not criterion.needs:
            return 100.0 * self._parameters
        if "evaluation" in criterion.needs:
            tokens = _EVALUATION_TOKENS
        elif criterion.name in _QUESTIONS:
            tokens = _QUESTIONS[criterion.name] * self._texts.choice
        elif criterion.per_edit_batch:
            tokens = self._edits * self._texts.edit
        else:
            tokens = _DOCUMENTS * self._texts.question
        return 2.0 * self._parameters * tokens

    def _misdirection(self, settings: RepresentationMisdirection) -> float:
        depth = (settings.layer + 1) / len(self._subject.blocks)
        forget, retain = settings.batch * settings.max_tokens, settings.batch * settings.retain_tokens
        found = depth * self._parameters * (6.0 * (forget + retain) + 2.0 * retain)
        if isinstance(settings, LatentAdversarialMisdirection):
            found += 6.0 * self._parameters * forget * settings.inner_steps
        return settings.max_batches * found

    def _loop(self, settings: LoopSettings) -> float:
        length = min(getattr(settings, "max_tokens", self._texts.question), self._context)
        tokens = (settings.samples or _DOCUMENTS) * settings.epochs * length
        passes = {"none": 6.0, "ce": 12.0, "kl": 14.0}[getattr(settings, "retain_loss", "none")]
        return passes * self._parameters * tokens
