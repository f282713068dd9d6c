"""Likelihoods of labelled tokens and the losses made of them: pure tensor maths."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.model.encoding import IGNORED


def token_log_probs(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each labelled token and the mask of labelled tokens.

    `logits` is `[items, tokens, vocabulary]`, `labels` `[items, tokens]`; position t predicts
    t + 1. Returns two `[items, tokens - 1]` tensors, fp32 and bool; unlabelled entries are 0.
    """
    shifted = labels[:, 1:]
    mask = shifted != IGNORED
    log_probs = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    picked = log_probs.gather(-1, shifted.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return picked * mask, mask


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood over the labelled tokens of the batch, in nats."""
    picked, mask = token_log_probs(logits, labels)
    return -picked.sum() / mask.sum()


def item_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over items of each item's mean negative log-likelihood over its labelled tokens, in nats.

    A long target weighs as much as a short one; every item must have a labelled token.
    """
    picked, mask = token_log_probs(logits, labels)
    return -(picked.sum(-1) / mask.sum(-1)).mean()


def sequence_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """log p of each item's labelled tokens together, `[items]`: a sum, not a mean."""
    return token_log_probs(logits, labels)[0].sum(-1)


def distributions(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probabilities over the vocabulary wherever a labelled token is predicted, `[labelled, vocabulary]`.

    Rows follow the items and, within an item, the tokens.
    """
    return torch.log_softmax(logits[:, :-1][labels[:, 1:] != IGNORED].float(), dim=-1)


def kl_divergence(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Mean over rows of KL(p ‖ p_ref), both given as log-probabilities `[rows, vocabulary]`, in nats."""
    return (log_probs.exp() * (log_probs - reference)).sum(-1).mean()


def npo_loss(log_ratio: Tensor, beta: float) -> Tensor:
    """−(2/β)·mean log σ(−β·r) over items, r = log p_θ(x) − log p_ref(x) (arXiv 2404.05868, eq. 3)."""
    return -2.0 / beta * F.logsigmoid(-beta * log_ratio).mean()


def answered(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether every labelled token of an item is the most likely one, `[items]` bool."""
    shifted = labels[:, 1:]
    return ((logits[:, :-1].argmax(-1) == shifted) | (shifted == IGNORED)).all(-1)
