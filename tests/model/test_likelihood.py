"""Likelihoods in chunks of the vocabulary projection: the values of one chunk, in the memory of one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.model import likelihood
from rayci.model.likelihood import in_chunks, log_probs, rows_at_a_time
from tests.memory_meter import MemoryMeter

VOCABULARY, CHANNELS, ROWS = 400, 8, 90


def case() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(VOCABULARY, CHANNELS, generator=generator).requires_grad_()
    states = torch.randn(ROWS, CHANNELS, generator=generator).requires_grad_()
    return head, states, torch.randint(0, VOCABULARY, (ROWS,), generator=generator)


def scored(head: Tensor, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = in_chunks(lambda rows, own: log_probs(rows @ head.T, own), VOCABULARY, states, tokens)
    of_head, of_states = torch.autograd.grad(found.square().sum(), (head, states))
    return found, of_head, of_states


def test_log_probabilities_are_torchs_cross_entropy() -> None:
    head, states, tokens = case()
    expected = -F.cross_entropy(states @ head.T, tokens, reduction="none")
    torch.testing.assert_close(log_probs(states @ head.T, tokens), expected)


@pytest.mark.parametrize("rows", [1, 7, 30, ROWS])
def test_chunks_change_neither_values_nor_gradients(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scored(*case())
    monkeypatch.setattr(likelihood, "LOGIT_BYTES", rows * VOCABULARY * 4)
    assert rows_at_a_time(VOCABULARY) == rows
    for found, expected in zip(scored(*case()), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_logits_of_one_chunk_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "LOGIT_BYTES", 6 * VOCABULARY * 4)
    head, states, tokens = case()
    with MemoryMeter([head, states, tokens]) as meter:
        scored(head, states, tokens)
    chunk, sums = 6 * VOCABULARY * 4, 3 * head.nbytes
    assert meter.peak <= 5 * chunk + sums < ROWS * VOCABULARY * 4
