"""The fast path for running text: what a model says of every token of many texts, given those before.

Texts of like length share a forward pass; hidden states are projected onto the vocabulary a chunk at a time, and
what is asked of a token is computed from its logits where they are. One transfer to the device a batch, one back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.criteria.evaluation.question_tokens import Ids
from rayci.criteria.evaluation.row_batches import MOST_SCORED, row_batches
from rayci.model.vocabulary_chunks import Projection, hidden_states
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
    for one in passes(subject, rows, most_tokens):
        chunks = zip(one.states.split(MOST_SCORED), one.following.split(MOST_SCORED), strict=True)
        found = torch.cat([score(one.projection.logits(states), tokens) for states, tokens in chunks])
        one.hand_out(found, scores)
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A forward pass over some rows, before anything is projected onto the vocabulary."""

    places: list[int]
    """Which rows."""
    lengths: list[int]
    """Tokens of each but its first."""
    states: Tensor
    """Hidden states wherever a token follows, `[tokens, channels]`, row after row."""
    following: Tensor
    """The tokens that follow, `[tokens]`."""
    projection: Projection
    """What makes the states logits."""

    def hand_out(self, found: Tensor, scores: list[Scores]) -> None:
        """Put what was found of every token `[tokens]` where the rows' scores are."""
        parts = np.split(found.cpu().double().numpy(), np.cumsum(self.lengths)[:-1])
        for place, part in zip(self.places, parts, strict=True):
            scores[place] = part


def passes(subject: Subject, rows: Sequence[Ids], most_tokens: int) -> Iterator[Pass]:
    """The forward passes over all rows that have a second token, one after the other."""
    scored = {place: len(row) for place, row in enumerate(rows) if len(row) > 1}
    for places in row_batches(scored, most_tokens):
        yield _pass(subject, places, [rows[place] for place in places])


def _pass(subject: Subject, places: list[int], rows: list[Ids]) -> Pass:
    lengths = [len(row) - 1 for row in rows]
    width = max(lengths)
    ids = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        ids[index, : lengths[index]] = row[:-1]
    positions = np.concatenate([index * width + np.arange(length) for index, length in enumerate(lengths)])
    following = np.concatenate([row[1:] for row in rows]).astype(np.int64)
    packed = torch.from_numpy(np.concatenate((ids.ravel(), positions, following))).to(subject.device)
    inputs, predicting, tokens = packed.split([ids.size, positions.size, following.size])
    states, projection = hidden_states(subject.model, inputs.view(len(rows), width))
    return Pass(places, lengths, states[predicting.to(states.device)], tokens.to(states.device), projection)


def _log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    return -F.cross_entropy(logits, tokens, reduction="none")


def _first_choice(logits: Tensor, tokens: Tensor) -> Tensor:
    hits = (logits.argmax(-1) == tokens).float()
    return hits.masked_fill(logits.isnan().any(-1), torch.nan)
