"""How far a model's predictions have gone from the untouched model's.

    kl_to_base = 1/N · Σ_t Σ_v p(v | x_<t) · log( p(v | x_<t) / q(v | x_<t) )

p the untouched model, q the model now, over the whole vocabulary and every position of the evaluation text that
predicts a token, in windows as for perplexity. p is computed again: the untouched weights take the place of the
others for one pass, whose hidden states wait in host memory, a few thousand numbers a token where the distribution
has 128 000. That costs what the measured pass costs; kept distributions cut to their largest would not be exact, and
kept hidden states of stage 0 would differ by the rounding of the machine that they come from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from rayci.context import Context
from rayci.criteria.evaluation.row_batches import MOST_SCORED
from rayci.criteria.evaluation.text_likelihoods import passes
from rayci.criteria.evaluation.windows import in_pieces
from rayci.criteria.running_text import RunningText
from rayci.criterion import Reading
from rayci.effort import Effort
from rayci.errors import MeasurementError
from rayci.kinds import Direction, Scale
from rayci.model.likelihood import divergences
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from rayci.criteria.evaluation.text_likelihoods import Scores


def divergence(before: Tensor, now: Tensor) -> Tensor:
    """KL(before ‖ now) of every token in nats, `[tokens]`, from fp32 logits `[tokens, vocabulary]` both."""
    log_before, log_now = torch.log_softmax(before, -1), torch.log_softmax(now, -1)
    # Never negative, but for the rounding of sums that cancel.
    return divergences(log_before, log_now).clamp(min=0)


class Divergence(RunningText):
    """Mean KL divergence of the untouched model's predictions to the present ones on the evaluation text."""

    name: ClassVar[str] = "kl_to_base"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "nats per token")

    def operations(self, work: Workload) -> Effort:
        """Two passes over the text, and over the weights that change places."""
        return 2 * super().operations(work) + work.pass_operations()

    def memory(self, work: Workload) -> int:
        """Two chunks of logits, their products, and the untouched output embeddings."""
        tokens = min(MOST_SCORED, work.tokens(self.part))
        return super().memory(work) + 2 * work.logit_bytes(tokens) + work.vocabulary * work.hidden * work.element

    @torch.no_grad()
    def measure(self, subject: Subject, context: Context) -> Reading:
        rows = self.windows(subject, context)
        before: list[Tensor] = []
        with subject.untouched():
            for one in passes(subject, rows, self.forward_tokens):
                before.append(one.states.cpu())
            projection = one.projection.kept()
        scores: list[Scores] = [np.zeros(0)] * len(rows)
        for one, then in zip(passes(subject, rows, self.forward_tokens), before, strict=True):
            chunks = zip(then.to(one.states.device).split(MOST_SCORED), one.states.split(MOST_SCORED), strict=True)
            found = [divergence(projection.logits(old), one.projection.logits(new)) for old, new in chunks]
            one.hand_out(torch.cat(found), scores)
        total, count = math.fsum(value for own in scores for value in own), sum(map(len, scores))
        if math.isnan(total):
            raise MeasurementError("kl_to_base: the model's probabilities are NaN")
        return Reading(total / count, count, items=in_pieces(scores))
