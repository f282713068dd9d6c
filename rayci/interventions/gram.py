"""Gram matrices of inputs: what Hessians, AWQ's losses and MEMIT's covariances are made of. Pure tensor maths.

    G = Σ x xᵀ over tokens, fp32 `[in, in]`

Products of two bf16 or two fp16 numbers are exact in fp32. A GPU's tensor cores make them from the inputs
as they are and add them up in fp32, at 16 times the rate of an A100's fp32 products; what scales the sum
comes after them. An fp32 input is scaled before, by the root, as the authors of SparseGPT and GPTQ do:
a weight half-way between two levels, as the largest of a symmetric group is, goes by the last bit.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)
"""Types whose products are exact in fp32."""


class Gram:
    """A sum of x xᵀ that is added to part by part; it takes 4 · in² bytes, and as many again while an
    fp32 part is added."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.width, self.device = width, device
        self.tokens = 0

    @cached_property
    def total(self) -> Tensor:
        """The sum, fp32 `[in, in]`; made when it is first asked for."""
        return torch.zeros(self.width, self.width, device=self.device)

    def add(self, inputs: Tensor, share: float = 1.0, keep: float = 1.0) -> None:
        """total = keep · total + share · Σ x xᵀ over `inputs [tokens, in]`; both between 0 and 2."""
        self.tokens += len(inputs)
        if inputs.is_cuda and inputs.dtype in HALVES:
            torch.addmm(self.total, inputs.T, inputs, out_dtype=torch.float32, beta=keep, alpha=share, out=self.total)
        else:
            scaled = math.sqrt(share) * inputs.float()
            self.total.mul_(keep).add_(scaled.T @ scaled)

    def mean(self) -> Tensor:
        """The mean over all tokens, where every part has the same share."""
        return self.total / self.tokens
