"""The updates of one projection that meet new values exactly: ROME's and EMMET's. Pure tensor maths, float64.

min ‖ΔW·C^½‖  with (W + ΔW)K = V:  ΔW = R(KᵀC⁻¹K)⁻¹(C⁻¹K)ᵀ,  R = V − WK    (arXiv 2403.14236)
one edit:                          ΔW = r(C⁻¹k)ᵀ / (kᵀC⁻¹k)                 (arXiv 2202.05262, eq. 2)
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayci.errors import InterventionError
from rayci.interventions.editing.damped_solution import solve_damped

INDEPENDENT = 1e-6
"""Smallest eigenvalue of KᵀC⁻¹K, scaled to a diagonal of ones, with which no key counts as a mixture of the others."""
TIED = 1e-4
"""Share of the mean diagonal that is added where keys are mixtures of each other: their values are then averaged."""


def whiten(covariance: Tensor, keys: Tensor) -> tuple[Tensor, float]:
    """C⁻¹K `[in, edits]` in float64 for C `[in, in]` and K `[in, edits]`, and the damping that it took."""
    k = keys.double()
    return solve_damped(covariance.to(k), k, "C")


def rank_one(white: Tensor, key: Tensor, residual: Tensor) -> Tensor:
    """ΔW `[out, in]` in float64 for C⁻¹k `[in]`, k `[in]` and r `[out]`."""
    return torch.outer(residual.to(white), white) / (white @ key.to(white))


def constrained(white: Tensor, keys: Tensor, residual: Tensor, damping: float = 0.0) -> tuple[Tensor, float]:
    """ΔW `[out, in]` in float64 for C⁻¹K and K `[in, edits]` and R `[out, edits]`, and the damping that ties took.

    `damping` is added to the diagonal of KᵀC⁻¹K where there are several edits.
    InterventionError where a key is zero or not finite.
    """
    system = keys.to(white).T @ white
    if len(system) > 1:
        system = system + damping * torch.eye(len(system), dtype=system.dtype, device=system.device)
    sizes = system.diagonal()
    if not bool((sizes > 0).all() & torch.isfinite(system).all()):
        raise InterventionError("KᵀC⁻¹K cannot be solved: a key is zero or not finite")
    alike = system / torch.sqrt(sizes[:, None] * sizes)
    tie = 0.0 if float(torch.linalg.eigvalsh(alike)[0]) >= INDEPENDENT else TIED
    system = system + tie * sizes.mean() * torch.eye(len(system), dtype=system.dtype, device=system.device)
    return (white @ torch.linalg.solve(system, residual.to(white).T)).T, tie
