"""Running text as windows of tokens that do not overlap, and the pieces of them that are items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from rayci.criteria.evaluation.question_tokens import Ids
from rayci.item_values import Items

if TYPE_CHECKING:
    from rayci.criteria.evaluation.text_likelihoods import Scores

PIECE = 128
"""Tokens of an item, at most: a text may be one long document, and a token alone says little that its neighbours
do not."""


def windows(ids: Ids, size: int) -> tuple[Ids, ...]:
    """Token ids of a text, cut every `size`; the rest at the end is a window of its own.

    A rest of one token predicts nothing and is left out: there may be no window at all.
    """
    cut = [ids[start : start + size] for start in range(0, len(ids), size)]
    return tuple(window for window in cut if len(window) > 1)


def in_pieces(scores: Iterable[Scores]) -> Items:
    """The means of the pieces of every window's scores, each weighing as much as it has tokens."""
    pieces = [piece for own in scores for piece in np.split(own, range(PIECE, len(own), PIECE))]
    return Items(tuple(float(piece.mean()) for piece in pieces), tuple(float(len(piece)) for piece in pieces))
