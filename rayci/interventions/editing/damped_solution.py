"""Systems of keys, which dead channels make singular: solved in float64, damped where they must be."""

from __future__ import annotations

import torch
from torch import Tensor

from rayci.errors import InterventionError

_DAMPING = (0.0, 1e-6, 1e-5, 1e-4)
"""Shares of the mean diagonal that are added when the system is singular; 0 is the formula itself."""
_RESIDUAL = 1e-6
"""Largest ‖(S + damping)X − B‖ / ‖B‖ of a valid solution."""


def solve_damped(system: Tensor, right: Tensor, what: str) -> tuple[Tensor, float]:
    """X of S·X = B for float64 S `[n, n]` and B `[n, columns]`, and the damping that it took.

    InterventionError naming `what` where the system stays singular with the largest damping.
    """
    for damping in _DAMPING:
        damped = system + damping * system.diagonal().mean() * torch.eye(len(system), device=right.device)
        solution, info = torch.linalg.solve_ex(damped, right)
        error = (damped @ solution - right).norm()
        if not bool(info) and bool(torch.isfinite(solution).all()) and bool(error <= _RESIDUAL * right.norm()):
            return solution, damping
    raise InterventionError(f"{what} cannot be solved: the covariance or the keys are singular or not finite")
