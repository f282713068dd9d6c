"""One forward pass over rows of questions: the likelihoods of their options, projected where an option is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rayci.criteria.evaluation.question_rows import Row
from rayci.criteria.evaluation.scored_positions import at_positions, projecting
from rayci.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]


def option_log_probs(subject: Subject, rows: Sequence[Row], cache: Any = None) -> Iterator[tuple[int, float]]:
    """(place, log p(option | all before it)) of every option of a batch, summed over its tokens in fp64.

    `cache` holds the prefix of the rows, once for each. One transfer to the device and one back.
    Rows are padded on the right: what is causal does not see what comes later, so that no mask is needed.
    """
    width = max(len(row.input) for row in rows)
    arrays = (_padded(rows, width), _positions(rows, width), *_targets(rows))
    packed = torch.from_numpy(np.concatenate([part.ravel() for part in arrays])).to(subject.device)
    ids, positions, predicted, targets = packed.split([part.size for part in arrays])
    with projecting(subject.model, positions):
        output = subject.model(
            input_ids=ids.view(len(rows), width),
            **({"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}),
        )
    logits = at_positions(output.logits, positions).float()
    predicted, targets = predicted.to(logits.device), targets.to(logits.device)
    log_probs = (logits[predicted, targets] - logits.logsumexp(-1)[predicted]).cpu().double().numpy()
    start = 0
    for row in rows:
        for place, option in row.options:
            yield place, float(log_probs[start : start + len(option)].sum())
            start += len(option)


def _padded(rows: Sequence[Row], width: int) -> Places:
    """Token ids `[rows, width]`; what pads is seen by nothing that is scored."""
    ids = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row.input)] = row.input
    return ids


def _positions(rows: Sequence[Row], width: int) -> Places:
    """Scored positions in the flattened batch, row by row, `[positions]`."""
    ends = [index * width + len(row.input) for index, row in enumerate(rows)]
    return np.concatenate([np.arange(end - row.scored, end) for end, row in zip(ends, rows, strict=True)])


def _targets(rows: Sequence[Row]) -> tuple[Places, Places]:
    """For each token of each option: which of the scored positions predicts it, and its id; `[tokens]` both."""
    starts = np.cumsum([0, *(row.scored for row in rows)])
    predicted = [
        np.arange(start, start + row.scored) for start, row in zip(starts, rows, strict=False) for _ in row.options
    ]
    ids = [option.astype(np.int64) for row in rows for _, option in row.options]
    return np.concatenate(predicted), np.concatenate(ids)
