"""AlphaEdit's, ROME's and EMMET's formulas on small matrices in float64: by numpy, and by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rayci.errors import InterventionError
from rayci.interventions.editing import alphaedit_update, memit_update
from rayci.interventions.editing.alphaedit_update import protected
from rayci.interventions.editing.constrained_update import INDEPENDENT, TIED, constrained, rank_one, whiten

DRAW = torch.Generator().manual_seed(0)
IN, OUT = 4, 4


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW, dtype=torch.float64)


def covariance(*eigenvalues: float) -> Tensor:
    """C with these eigenvalues in random directions."""
    directions, _ = torch.linalg.qr(random(len(eigenvalues), len(eigenvalues)))
    found: Tensor = directions @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ directions.T
    return found


def off(found: Tensor, wanted: Tensor | np.ndarray) -> float:
    """‖found − wanted‖ / ‖wanted‖."""
    other = torch.as_tensor(wanted)
    return float((found - other).norm() / other.norm())


@pytest.mark.parametrize("earlier", [0, 3])
def test_alphaedit_is_the_papers_system_solved_in_numpy(earlier: int) -> None:
    c, keys, residual, others = covariance(5.0, 1.0, 1e-3, 1e-4), random(IN, 2), random(OUT, 2), random(IN, earlier)
    values, vectors = np.linalg.eigh(c.numpy())
    free = vectors[:, values < 2e-2]
    projector = free @ free.T
    k, r, kp = keys.numpy(), residual.numpy(), others.numpy()
    system = projector @ (k @ k.T + kp @ kp.T) + 10.0 * np.eye(IN)
    expected = np.linalg.solve(system, projector @ k @ r.T).T
    found = alphaedit_update.update(protected(c, 2e-2), keys, residual, 10.0, others if earlier else None)
    assert found.dtype == torch.float64 and off(found, expected) < 1e-12


def test_alphaedit_leaves_what_is_said_of_protected_keys() -> None:
    c, weight = covariance(5.0, 2.0, 1.0, 1e-3, 1e-4, 1e-5), random(OUT, 6)
    basis = protected(c, 2e-2).float()  # as it is kept
    change = alphaedit_update.update(basis, random(6, 3), random(OUT, 3), 1e-3, random(6, 2))
    assert float(change.norm()) > 0.1
    _, directions = np.linalg.eigh(c.numpy())
    seen = torch.tensor(directions[:, 3:]) @ random(3, 50)
    assert off((weight + change) @ seen, weight @ seen) < 1e-4


def test_alphaedit_without_a_protected_key_is_memit_with_a_ridge_in_place_of_c() -> None:
    keys, residual = random(6, 3), random(OUT, 3)
    expected, _ = memit_update.update(torch.eye(6), keys, residual, 10.0)
    assert off(alphaedit_update.update(torch.zeros(6, 0), keys, residual, 10.0), expected) < 1e-12


def test_earlier_keys_are_left_what_they_say() -> None:
    """With λ → 0 the new values are met, and those of K_p stay."""
    keys, others, residual = random(6, 2), random(6, 3), random(OUT, 2)
    change = alphaedit_update.update(torch.zeros(6, 0), keys, residual, 1e-9, others)
    assert off(change @ keys, residual) < 1e-6
    assert float((change @ others).norm()) < 1e-6


def test_a_threshold_below_every_eigenvalue_leaves_no_direction() -> None:
    with pytest.raises(InterventionError, match=r"no eigenvalue .* is below null_threshold = 0\.02, the smallest is"):
        protected(covariance(1.0, 0.5, 0.1, 0.03), 2e-2)
    assert protected(covariance(1e-3, 1e-4, 1e-5, 1e-6), 2e-2).shape == (4, 0)
    with pytest.raises(InterventionError, match="not finite"):
        protected(torch.full((2, 2), torch.nan), 1.0)


def test_rome_by_hand() -> None:
    # C⁻¹k = (1, 1), kᵀC⁻¹k = 3, so Λ = (6, -3) / 3
    white, damping = whiten(torch.diag(torch.tensor([1.0, 2.0])), torch.tensor([[1.0], [2.0]]))
    assert damping == 0
    change = rank_one(white[:, 0], torch.tensor([1.0, 2.0]), torch.tensor([6.0, -3.0]))
    assert change.flatten().tolist() == pytest.approx([2.0, 2.0, -1.0, -1.0])


def test_emmet_is_the_papers_formula_in_numpy() -> None:
    c, keys, residual = covariance(5.0, 1.0, 0.3, 0.1), random(IN, 3), random(OUT, 3)
    k, inverse = keys.numpy(), np.linalg.inv(c.numpy())
    for damping in (0.0, 0.1):
        middle = np.linalg.inv(k.T @ inverse @ k + damping * np.eye(3))
        expected = residual.numpy() @ middle @ k.T @ inverse
        found, tie = constrained(whiten(c, keys)[0], keys, residual, damping)
        assert found.dtype == torch.float64 and tie == 0 and off(found, expected) < 1e-10


@pytest.mark.parametrize("edits", [1, 2, 4])
def test_new_values_are_met_exactly(edits: int) -> None:
    c, keys, weight, values = covariance(5.0, 1.0, 0.3, 1e-3), random(IN, edits), random(OUT, IN), random(OUT, edits)
    residual = values - weight @ keys
    change, _ = constrained(whiten(c, keys)[0], keys, residual)
    assert off((weight + change) @ keys, values) < 1e-9
    # and of all changes that meet them, it is the one that moves the text's values least
    aside = random(OUT, IN) @ (torch.eye(IN, dtype=torch.float64) - keys @ torch.linalg.pinv(keys))
    moved, other = (float(torch.trace(each @ c @ each.T)) for each in (change, change + aside))
    assert moved <= other * (1 + 1e-9)


def test_one_edit_of_emmet_is_romes() -> None:
    c, key, residual = covariance(5.0, 1.0, 0.3, 1e-3), random(IN, 1), random(OUT, 1)
    white, _ = whiten(c, key)
    change, _ = constrained(white, key, residual, damping=0.1)  # which is for several
    assert off(change, rank_one(white[:, 0], key[:, 0], residual[:, 0])) < 1e-12


def test_emmet_damped_is_memit_with_the_damping_as_its_weight() -> None:
    """R(KᵀC⁻¹K + δI)⁻¹KᵀC⁻¹ = RKᵀ(δC + KKᵀ)⁻¹."""
    c, keys, residual = covariance(5.0, 1.0, 0.3, 0.1), random(IN, 3), random(OUT, 3)
    found, _ = constrained(whiten(c, keys)[0], keys, residual, 2.0)
    assert off(found, memit_update.update(c, keys, residual, 2.0)[0]) < 1e-10


def test_keys_that_are_equal_share_the_mean_of_their_values() -> None:
    c, keys, residual = covariance(5.0, 1.0, 0.3, 0.1), random(IN, 3), random(OUT, 3)
    keys[:, 2] = keys[:, 1] * (1 + 1e-7)  # one subject in two edits, as fp32 tells them apart
    change, tie = constrained(whiten(c, keys)[0], keys, residual)
    assert tie == TIED > INDEPENDENT
    assert off(change @ keys[:, 0], residual[:, 0]) < 1e-3
    assert off(change @ keys[:, 1], residual[:, 1:].mean(1)) < 1e-3


def test_a_key_of_nothing_is_an_error() -> None:
    keys = torch.zeros(IN, 2)
    with pytest.raises(InterventionError, match="a key is zero or not finite"):
        constrained(torch.zeros(IN, 2, dtype=torch.float64), keys, random(OUT, 2))
