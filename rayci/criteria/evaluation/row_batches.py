"""Rows of token ids that share a forward pass: what they begin with, how many fit together, how many are projected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rayci.criteria.evaluation.question_tokens import Ids

LEAST_SHARED = 16
"""Tokens that rows must share for their cache to be worth a pass of its own."""
MOST_SCORED = 512
"""Positions that are projected onto the vocabulary at once, at most: bounds the logits."""


def shared_length(rows: Sequence[Ids]) -> int:
    """Tokens with which all rows begin, the last of each left out: it predicts what follows the row.

    0 where a pass of their own is not worth it: for one row, or for fewer than `LEAST_SHARED` tokens.
    """
    length = min(map(len, rows)) - 1 if len(rows) > 1 else 0
    for row in rows[1:]:
        differing = np.flatnonzero(row[:length] != rows[0][:length])
        length = int(differing[0]) if len(differing) else length
    return length if length >= LEAST_SHARED else 0


def row_batches(
    lengths: Mapping[int, int], most_tokens: int, new_tokens: Mapping[int, int] | None = None
) -> Iterator[list[int]]:
    """Places of rows of like length, at most `most_tokens` together, padding and new tokens counted, or one row.

    `lengths`: place -> tokens of its row; `new_tokens`: place -> those that are written after it, at most.
    The longest come first: what does not fit into memory fails at once.
    """
    written = new_tokens or {}
    batch: list[int] = []
    most_new = 0
    for place in sorted(lengths, key=lengths.__getitem__, reverse=True):
        most_new = max(most_new, written.get(place, 0))
        if batch and (len(batch) + 1) * (lengths[batch[0]] + most_new) > most_tokens:
            yield batch
            batch, most_new = [], written.get(place, 0)
        batch.append(place)
    if batch:
        yield batch
