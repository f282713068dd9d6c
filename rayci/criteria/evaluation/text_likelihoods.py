"""The fast path for running text: what a model says of every token of many texts, given those before.

Texts of like length share a forward pass; hidden states are projected onto the vocabulary a chunk at a time, and
what is asked of a token is computed from its logits where they are. One transfer to the device a batch, one back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.criteria.evaluation.question_tokens import Ids
from rayci.criteria.evaluation.token_batches import MOST_SCORED
from rayci.criteria.evaluation.vocabulary_chunks import hidden_states
from rayci.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]
    """One for each token but the first `[tokens - 1]`."""

TokenScore = Callable[[Tensor, Tensor], Tensor]
"""(fp32 logits `[tokens, vocabulary]`, the tokens that follow `[tokens]`) -> a number for each `[tokens]`."""


def token_log_probs(subject: Subject, rows: Sequence[Ids], most_tokens: int) -> list[Scores]:
    """log p(token | those before it) in nats of every token but a row's first, `[tokens - 1]` for each row.

    A row of fewer than two tokens has none; none may be longer than the model's context. NaN where
    the model says so. `most_tokens` bounds a forward pass, padding included, and changes nothing else.
    """
    return token_scores(subject, rows, most_tokens, _log_probs)


def most_likely(subject: Subject, rows: Sequence[Ids], most_tokens: int) -> list[Scores]:
    """1 where a token is the model's first choice after those before it, 0 where it is not, NaN where it says so."""
    return token_scores(subject, rows, most_tokens, _first_choice)


@torch.no_grad()
def token_scores(subject: Subject, rows: Sequence[Ids], most_tokens: int, score: TokenScore) -> list[Scores]:
    """A number for every token but a row's first, `[tokens - 1]` for each row, in the order given."""
    scores: list[Scores] = [np.zeros(0)] * len(rows)
    for places in batches([len(row) for row in rows], most_tokens):
        own = [rows[place] for place in places]
        found = _scored(subject, own, score)
        ends = np.cumsum([len(row) - 1 for row in own])
        for place, part in zip(places, np.split(found, ends[:-1]), strict=True):
            scores[place] = part
    return scores


def batches(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Places of rows of like length, at most `most_tokens` with their padding, or one row; those of no score left out.

    The longest come first: what does not fit into memory fails at once.
    """
    order = sorted((place for place, length in enumerate(lengths) if length > 1), key=lambda place: -lengths[place])
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * lengths[batch[0]] > most_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _scored(subject: Subject, rows: Sequence[Ids], score: TokenScore) -> Scores:
    """The scores of a batch, row after row."""
    width = len(rows[0]) - 1
    ids = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row) - 1] = row[:-1]
    positions = np.concatenate([index * width + np.arange(len(row) - 1) for index, row in enumerate(rows)])
    targets = np.concatenate([row[1:] for row in rows]).astype(np.int64)
    packed = torch.from_numpy(np.concatenate((ids.ravel(), positions, targets))).to(subject.device)
    inputs, predicting, following = packed.split([ids.size, positions.size, targets.size])
    states, projection = hidden_states(subject.model, inputs.view(len(rows), width))
    predicting, following = predicting.to(states.device), following.to(states.device)
    found = []
    for some, tokens in zip(predicting.split(MOST_SCORED), following.split(MOST_SCORED), strict=True):
        logits = projection.logits(states[some])
        found.append(score(logits, tokens.to(logits.device)))
    return torch.cat(found).cpu().double().numpy()


def _log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    return -F.cross_entropy(logits, tokens, reduction="none")


def _first_choice(logits: Tensor, tokens: Tensor) -> Tensor:
    hits = (logits.argmax(-1) == tokens).float()
    return hits.masked_fill(logits.isnan().any(-1), torch.nan)
