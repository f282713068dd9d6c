"""MEMIT's update of one projection, in float64.

A = (λC + KKᵀ)⁻¹K,  W += R·Aᵀ    (arXiv 2210.07229, eq. 14)
"""

from __future__ import annotations

from torch import Tensor

from rayci.interventions.editing.damped_solution import solve_damped


def solve(covariance: Tensor, keys: Tensor, weight: float, earlier: Tensor | None = None) -> tuple[Tensor, float]:
    """A `[in, edits]` in float64, and the damping that it took; `keys` is K `[in, edits]`, `earlier` K_p.

    InterventionError where the system stays singular with the largest damping.
    """
    k = keys.double()
    system = weight * covariance.to(k.device).double() + k @ k.T
    if earlier is not None:
        before = earlier.to(k.device).double()
        system += before @ before.T
    return solve_damped(system, k, "λC + KKᵀ")


def update(
    covariance: Tensor, keys: Tensor, residual: Tensor, weight: float, earlier: Tensor | None = None
) -> tuple[Tensor, float]:
    """ΔW `[out, in]` in float64 for keys K `[in, edits]` and residuals R `[out, edits]`, and the damping it took.

    `earlier`: keys `[in, earlier edits]` that weigh as K does, without a residual.
    """
    adjusted, damping = solve(covariance, keys, weight, earlier)
    return residual.to(adjusted.device).double() @ adjusted.T, damping
