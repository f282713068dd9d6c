"""MEMIT's update of one projection, in float64.

A = (λC + KKᵀ)⁻¹K,  W += R·Aᵀ    (arXiv 2210.07229, eq. 14)
"""

from __future__ import annotations

from torch import Tensor

from rayci.interventions.editing.damped_solution import solve_damped


def solve(covariance: Tensor, keys: Tensor, weight: float) -> tuple[Tensor, float]:
    """A `[in, edits]` in float64, and the damping that it took; `keys` is K `[in, edits]`.

    InterventionError where the system stays singular with the largest damping.
    """
    k = keys.double()
    return solve_damped(weight * covariance.to(k.device).double() + k @ k.T, k, "λC + KKᵀ")


def update(covariance: Tensor, keys: Tensor, residual: Tensor, weight: float) -> tuple[Tensor, float]:
    """ΔW `[out, in]` in float64 for keys K `[in, edits]` and residuals R `[out, edits]`, and the damping it took."""
    adjusted, damping = solve(covariance, keys, weight)
    return residual.to(adjusted.device).double() @ adjusted.T, damping
