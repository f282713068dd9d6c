"""From bytes to a share of a GPU."""

from __future__ import annotations

STEPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Shares of a GPU: halves pack without waste, and few sizes let Tune reuse actors."""

RESERVE = 1.15
"""Memory reserved, as a multiple of the estimate: the allocator's blocks, and what CUDA itself takes."""


def fitting(memory: float, gpu_memory: float) -> float:
    """The smallest share, in GPUs, that holds `memory` bytes on GPUs of `gpu_memory` bytes."""
    needed = memory / gpu_memory
    return next((step for step in STEPS if step >= needed), STEPS[-1])
