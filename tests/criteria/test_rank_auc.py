"""AUC against scikit-learn, its standard error by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from rayci.criteria.rank_auc import Values, rank_auc


def sklearn_auc(positives: Values, negatives: Values) -> float:
    labels = [1] * len(positives) + [0] * len(negatives)
    return float(roc_auc_score(labels, np.concatenate((positives, negatives))))


@pytest.mark.parametrize("digits", [0, 1, 9])  # few digits: ties
@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 7), (30, 20), (100, 100)])
def test_the_area_is_that_of_scikit_learn(positives: int, negatives: int, digits: int) -> None:
    draw = np.random.default_rng(positives + digits)
    one, other = draw.normal(0.5, 1, positives).round(digits), draw.normal(0, 1, negatives).round(digits)
    found = rank_auc(one, other)
    assert found.area == pytest.approx(sklearn_auc(one, other))
    assert found.added.mean() == pytest.approx(found.area)
    assert (found.stderr is None) == (positives == 1)


def test_the_standard_error_by_hand() -> None:
    # of 2, 4 above 1, 3: V⁺ = 1/2, 1 and V⁻ = 1, 1/2; variances 1/8 each, over 2
    found = rank_auc(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
    assert found.area == 0.75
    assert found.stderr == pytest.approx((1 / 8 / 2 + 1 / 8 / 2) ** 0.5)
    assert list(found.added) == [0.25, 1.25, 1.25, 0.25]


def test_infinite_scores_have_their_place() -> None:
    assert rank_auc(np.array([-np.inf, 1.0]), np.array([0.0, -np.inf])).area == (0.5 + 0 + 1 + 1) / 4


def test_the_standard_error_is_that_of_resampling() -> None:
    draw = np.random.default_rng(0)
    samples = draw.normal(0.5, 1, 60), draw.normal(0, 1, 90)
    resampled = bootstrap(samples, sklearn_auc, vectorized=False, n_resamples=150, rng=1, method="basic")
    found = rank_auc(*samples)
    assert found.stderr == pytest.approx(resampled.standard_error, rel=0.15)
    assert found.added.std(ddof=1) / len(found.added) ** 0.5 == pytest.approx(found.stderr, rel=0.02)


def test_paired_differences_of_what_items_add_are_delongs() -> None:
    """Two models on the same items: variance of the difference of areas by placements and their covariance (eq. 5)."""
    draw = np.random.default_rng(4)
    base = draw.normal(0.5, 1, 50), draw.normal(0, 1, 50)
    models = [[kind + draw.normal(0, 0.5, 50) for kind in base] for _ in range(2)]
    above = np.cov([[np.mean(score > negatives) for score in positives] for positives, negatives in models])
    below = np.cov([[np.mean(score < positives) for score in negatives] for positives, negatives in models])
    delong = sum(c[0, 0] + c[1, 1] - 2 * c[0, 1] for c in (above / 50, below / 50))
    one, other = (rank_auc(positives, negatives).added for positives, negatives in models)
    assert (one - other).var(ddof=1) / len(one) == pytest.approx(delong, rel=0.02)
