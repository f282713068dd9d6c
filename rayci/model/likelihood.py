"""Likelihoods of tokens and losses made of them, without all logits at a time: pure tensor maths."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

LOGIT_BYTES = 1 << 28
"""fp32 logits that are made at a time, bytes: 523 tokens of a vocabulary of 128 256."""


def rows_at_a_time(vocabulary: int) -> int:
    """Tokens whose fp32 logits take at most `LOGIT_BYTES`; one at least."""
    return max(1, LOGIT_BYTES // (4 * vocabulary))


def in_chunks(score: Callable[..., Tensor], vocabulary: int, *rows: Tensor) -> Tensor:
    """`score` of tensors with a row a token, `[rows]`, so many rows at a time that their logits take little.

    Where there are several chunks, their logits are made again in the backward pass: `score` must be deterministic.
    """
    size = rows_at_a_time(vocabulary)
    if len(rows[0]) <= size:
        return score(*rows)
    chunks = zip(*(tensor.split(size) for tensor in rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([score(*chunk) for chunk in chunks])
    again = [checkpoint(score, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    return torch.cat(again)


def log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """log p of a token for each row of fp32 logits `[rows, vocabulary]`, `[rows]`, in nats."""
    return torch.log_softmax(logits, dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def divergences(log_probs: Tensor, reference: Tensor) -> Tensor:
    """KL(p ‖ p_ref) of each row `[rows]`, both given as log-probabilities `[rows, vocabulary]`, in nats."""
    return (log_probs.exp() * (log_probs - reference)).sum(-1)


def npo_loss(log_ratio: Tensor, beta: float) -> Tensor:
    """−(2/β)·mean log σ(−β·r) over items, r = log p_θ(x) − log p_ref(x) (arXiv 2404.05868, eq. 3)."""
    return -2.0 / beta * F.logsigmoid(-beta * log_ratio).mean()
