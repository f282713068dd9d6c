"""AlphaEdit's update of one projection: an edit that the keys of ordinary text cannot see. Pure tensor maths, float64.

    ΔWᵀ = (P(KKᵀ + K_pK_pᵀ) + λI)⁻¹ P K Rᵀ,  P = I − UUᵀ    (arXiv 2410.02355)

U are the eigenvectors of C whose eigenvalue is not below a threshold: ΔW·U = 0. As P is a projector, with
K' = [K, K_p] the same ΔW is R' (K'ᵀPK' + λI)⁻¹ (PK')ᵀ, R' = [R, 0]: a system as wide as there are edits, not as the
projection has inputs, and symmetric.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayci.errors import InterventionError


def protected(covariance: Tensor, threshold: float) -> Tensor:
    """U `[in, protected]` in float64 for C `[in, in]`: the directions that carry ordinary text.

    InterventionError where C is not finite, or where no eigenvalue is below the threshold, so that P = 0.
    """
    if not bool(torch.isfinite(covariance).all()):
        raise InterventionError("the covariance of the text's keys is not finite")
    values, vectors = torch.linalg.eigh(covariance.double())
    if float(values[0]) >= threshold:
        raise InterventionError(
            f"no eigenvalue of the covariance is below null_threshold = {threshold:g}, the smallest is "
            f"{float(values[0]):.3g}: no direction is left to edit in, a larger threshold leaves some"
        )
    basis: Tensor = vectors[:, values >= threshold]
    return basis


def project(basis: Tensor, keys: Tensor) -> Tensor:
    """P·K `[in, keys]` for U `[in, protected]`."""
    return keys - basis @ (basis.T @ keys)


def update(basis: Tensor, keys: Tensor, residual: Tensor, ridge: float, earlier: Tensor | None = None) -> Tensor:
    """ΔW `[out, in]` in float64 for U `[in, protected]`, K `[in, edits]`, R `[out, edits]` and K_p `[in, others]`."""
    k = keys.double()
    known = k if earlier is None else torch.cat([k, earlier.to(k)], dim=1)
    free = project(basis.to(k), known)
    wanted = torch.zeros(known.shape[1], len(residual), dtype=k.dtype, device=k.device)
    wanted[: k.shape[1]] = residual.to(k).T
    system = known.T @ free + ridge * torch.eye(known.shape[1], dtype=k.dtype, device=k.device)
    transposed: Tensor = free @ torch.linalg.solve(system, wanted)
    return transposed.T
