"""How well a model predicts running text.

    perplexity = exp( −1/N · Σ log p(x_t | x_<t) )     general_nll = its logarithm

over non-overlapping windows of the documents, joined by blank lines and tokenized without special tokens; the shorter
last window counts, N leaves out the first token of every window. WikiText-2 (arXiv 1609.07843) is measured this way
by the compression literature (GPTQ, arXiv 2210.17323, section 4).

An item is the mean negative log-likelihood of a piece of a window, its weight the tokens: the weighted mean is
`general_nll`, its exponential the perplexity.
"""

from __future__ import annotations

import math
from typing import ClassVar

from rayci.context import Context
from rayci.criteria.evaluation.windows import in_pieces
from rayci.criteria.running_text import RunningText
from rayci.criterion import Reading
from rayci.kinds import Direction, Scale
from rayci.subject import Subject


class GeneralLoss(RunningText):
    """Mean negative log-likelihood of a token of the spec's evaluation text: the logarithm of its perplexity."""

    name: ClassVar[str] = "general_nll"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "nats per token")

    def measure(self, subject: Subject, context: Context) -> Reading:
        losses = self.losses(subject, context)
        count = sum(map(len, losses))
        mean = math.fsum(loss for own in losses for loss in own) / count
        return Reading(mean, count, items=in_pieces(losses))


class Perplexity(GeneralLoss):
    """exp of the mean cross-entropy on the spec's evaluation text; overflow is +inf."""

    name: ClassVar[str] = "perplexity"
    version: ClassVar[int] = 2
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 1.0, None, logarithmic=True)

    def measure(self, subject: Subject, context: Context) -> Reading:
        reading = super().measure(subject, context)
        try:
            value = math.exp(reading.value)
        except OverflowError:
            value = math.inf
        return Reading(value, reading.n, items=reading.items)


class WikitextPerplexity(Perplexity):
    """exp of the mean cross-entropy on WikiText-2's test split; overflow is +inf."""

    name: ClassVar[str] = "wikitext_ppl"
    version: ClassVar[int] = 1
    part: ClassVar[str] = "wikitext"
    needs: ClassVar[frozenset[str]] = frozenset({"wikitext"})
