"""Perplexity on evaluation text.

exp( −1/N · Σ log p(x_t | x_<t) ) over non-overlapping windows of the joined text

Its items are pieces of the windows: a text may be one long document, and a token alone says little that its neighbours
do not. An item is the piece's mean negative log-likelihood, its weight the tokens, so that exp of the weighted mean is
the perplexity.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.errors import DataError, MeasurementError
from rayci.item_values import Items
from rayci.kinds import Direction, Scale
from rayci.model.likelihood import token_log_probs
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload

PIECE = 128
"""Tokens of an item, at most."""


class Perplexity(Criterion):
    """exp of the mean cross-entropy on the spec's evaluation text; overflow is +inf."""

    name: ClassVar[str] = "perplexity"
    version: ClassVar[int] = 2
    item: ClassVar[str] = f"piece of {PIECE} tokens"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 1.0, None, logarithmic=True)
    needs: ClassVar[frozenset[str]] = frozenset({"evaluation"})

    window: Annotated[int, Field(ge=2)] = 8192
    """Longest window in tokens; the model's context, where that is shorter."""
    separator: str = "\n\n"
    """What joins the documents."""
    forward_batch: Annotated[ForwardBatch, Field(ge=1)] = 16
    """Windows in one forward pass; changes speed and memory only."""

    def operations(self, work: Workload) -> float:
        return work.forward_operations(work.tokens("evaluation"))

    def memory(self, work: Workload) -> int:
        return work.reading_bytes(self.forward_batch * min(self.window, work.context))

    @torch.no_grad()
    def measure(self, subject: Subject, context: Context) -> Reading:
        losses: list[float] = []
        tokens: list[float] = []
        for windows in self._windows(subject, context):
            logits = subject.model(input_ids=windows, use_cache=False).logits
            picked, mask = token_log_probs(logits, windows)
            losses += _sums(-picked.double())
            tokens += _sums(mask.double())
        total, count = math.fsum(losses), int(sum(tokens))
        if math.isnan(total):
            raise MeasurementError("perplexity: the model's probabilities are NaN")
        means = tuple(loss / size for loss, size in zip(losses, tokens, strict=True))
        try:
            value = math.exp(total / count)
        except OverflowError:
            value = math.inf
        return Reading(value, count, items=Items(means, tuple(tokens)))

    def _windows(self, subject: Subject, context: Context) -> list[Tensor]:
        """int64 `[windows, tokens]` batches; the rest at the end is a window of its own."""
        text = self.separator.join(document.text for document in context.data.evaluation)
        encoded = subject.tokenizer(text, add_special_tokens=False, verbose=False)
        ids = torch.tensor(encoded["input_ids"], device=subject.device)
        size = min(self.window, subject.context_length)
        whole, rest = ids[: len(ids) // size * size].view(-1, size), ids[len(ids) // size * size :]
        batches = list(whole.split(self.forward_batch)) if len(whole) else []
        if len(rest) > 1:
            batches.append(rest.unsqueeze(0))
        if not batches:
            source = context.data.sources.get("evaluation", "evaluation")
            raise DataError("perplexity: the evaluation text has fewer than two tokens", at=source)
        return batches


def _sums(values: Tensor) -> list[float]:
    """Sums over the pieces of each window `[windows, tokens]`, one window after the other."""
    pieces = torch.stack([piece.sum(1) for piece in values.split(PIECE, dim=1)], dim=1)
    return [float(total) for total in pieces.flatten()]
