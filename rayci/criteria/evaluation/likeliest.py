"""The likeliest next token of each row, whatever rows run beside it.

Padding and the rows beside it change a row's logits in their last digits, by other kernels and
other orders of summation. Where the first two lie closer together than that, the row alone decides:
one more pass over its own tokens, without padding or cache, so that no batch turns a tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rayci.criteria.evaluation.scored_positions import at_positions, projecting
from rayci.errors import MeasurementError
from rayci.subject import Subject

_NOISE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""How far batches move a logit, as a share of the largest one's size: many roundings of fp32, one or two of half
precision, which sums in fp32."""


def next_tokens(subject: Subject, logits: Tensor, rows: Sequence[list[int]]) -> list[int]:
    """The token that follows each row, given `logits [rows, vocabulary]` and all tokens of the rows.

    Raises MeasurementError for NaN: a choice among them would look like an answer.
    """
    found = logits.topk(2)
    near = found.values[:, 0] - found.values[:, 1] <= _NOISE.get(logits.dtype, 0.0) * logits.abs().amax(-1)
    nan = logits.isnan().any(-1)
    tokens, close, bad = torch.stack((found.indices[:, 0], near, nan)).tolist()  # one transfer for all
    if any(bad):
        raise MeasurementError("the model's probabilities are NaN")
    return [_alone(subject, row) if tied else token for token, tied, row in zip(tokens, close, rows, strict=True)]


def _alone(subject: Subject, row: list[int]) -> int:
    ids = torch.tensor([row], device=subject.device)
    last = torch.tensor([len(row) - 1], device=subject.device)
    with projecting(subject.model, last):
        output = subject.model(input_ids=ids, use_cache=False)
    return int(at_positions(output.logits, last)[0].argmax())
