"""Gram matrices: the authors' bits in fp32, exact products of halves on a GPU, memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rayci.interventions.gram import HALVES, Gram
from tests.interventions.surgery import correlated
from tests.memory_meter import MemoryMeter

CPU = torch.device("cpu")


def as_published(sequences: list[Tensor]) -> Tensor:
    """The running mean of SparseGPT's and GPTQ's authors, line by line."""
    hessian = torch.zeros(2 * (sequences[0].shape[1],))
    for samples, sequence in enumerate(sequences, 1):
        hessian *= (samples - 1) / samples
        scaled = math.sqrt(2 / samples) * sequence.t().float()
        hessian += scaled.matmul(scaled.t())
    return hessian


def running_mean(sequences: list[Tensor], device: torch.device = CPU) -> Gram:
    gram = Gram(sequences[0].shape[1], device)
    for count, sequence in enumerate(sequences, 1):
        gram.add(sequence.to(device), share=2 / count, keep=(count - 1) / count)
    return gram


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_adds_up_as_the_authors_do_bit_for_bit(dtype: torch.dtype) -> None:
    sequences = [correlated(48, seed, 33).to(dtype) for seed in range(7)]
    found = running_mean(sequences)
    assert found.total.equal(as_published(sequences))
    assert found.tokens == 7 * 33


def test_shares_of_one_give_the_plain_sum_and_its_mean() -> None:
    parts = [correlated(16, seed, tokens) for seed, tokens in enumerate((5, 30, 1))]
    gram = Gram(16, CPU)
    for part in parts:
        gram.add(part)
    assert gram.total.equal(parts[0].T @ parts[0] + parts[1].T @ parts[1] + parts[2].T @ parts[2])
    assert gram.mean().equal(gram.total / 36)


def test_a_part_takes_no_more_than_its_product() -> None:
    part = correlated(256, 0, 64)
    with MemoryMeter([part]) as meter:
        gram = Gram(256, CPU)
        gram.add(part)
        gram.add(part)
    assert meter.peak <= 2 * 4 * 256**2 + part.nbytes


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
def test_a_gpu_is_as_near_to_the_exact_sum_as_fp32_allows(dtype: torch.dtype) -> None:
    sequences = [correlated(512, seed, 512).to(dtype) for seed in range(8)]
    exact = sum((sequence.double().T @ sequence.double()).div_(4) for sequence in sequences)
    device = torch.device("cuda")
    found = running_mean(sequences, device).total.cpu().double()
    assert float((found - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.gpu
def test_a_gpu_adds_halves_without_a_copy() -> None:
    part = correlated(1024, 0, 2048).to(torch.bfloat16).cuda()
    gram = Gram(1024, part.device)
    gram.add(part)  # the library takes its workspace
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    gram.add(part)
    assert torch.cuda.max_memory_allocated() - held < gram.total.nbytes
