"""From bytes to a share of a GPU."""

from __future__ import annotations

from collections.abc import Callable

STEPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Shares of a GPU: halves pack without waste, and few sizes let Tune reuse actors."""


def fitting(needed: Callable[[int], float], gpu_memory: float) -> float:
    """The smallest share, in GPUs of `gpu_memory` bytes; `needed` says what the fullest of so many must hold."""
    fits = (step for step in STEPS if needed(max(1, int(step))) <= min(step, 1.0) * gpu_memory)
    return next(fits, STEPS[-1])
