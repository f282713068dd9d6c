"""Gaps over paired items, against scipy, by hand, and in a seeded simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import Generator
from scipy import stats

from rayci.analysis.statistics.item_pairs import item_curves, item_gaps, item_scores, mcnemar, paired
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, scores
from rayci.kinds import Direction, Scale

X = np.array([0.0, 0.2, 0.6, 1.0])
TRAPEZOID = np.array([0.1, 0.3, 0.4, 0.2])
ONE, ONE_POINT = Reach(np.array([4.0])), np.array([1.0])
OPEN, SHARE, HIGHER = Scale(Direction.LOWER), Scale(Direction.LOWER, 0.0, 1.0), Scale(Direction.HIGHER, 0.0, 1.0)


def drawn(items: int, points: int = 4, orders: int = 2, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(2.0, 0.3, (items, orders, points))


def test_an_area_over_items_is_scipy_s_paired_t_test() -> None:
    values = drawn(30)
    (gap,) = item_gaps(item_curves(values), OPEN, TRAPEZOID)
    first, second = (values[:, order] @ TRAPEZOID for order in (0, 1))
    reference = stats.ttest_rel(first, second)
    interval = reference.confidence_interval(0.95)
    assert (gap.low, gap.high, gap.p) == pytest.approx((interval.low, interval.high, reference.pvalue))
    scored = scores(values.mean(axis=0)[None, None], OPEN, Reach(X[None]))
    assert gap.mean == pytest.approx(scored.gaps.mean[0, 0])


def test_every_two_orders_have_their_gap() -> None:
    values = drawn(12, orders=3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    for summary, (first, second) in zip(item_gaps(item_curves(values), OPEN, TRAPEZOID), pairs, strict=True):
        assert summary == item_gaps(item_curves(values[:, [first, second]]), OPEN, TRAPEZOID)[0]


@pytest.mark.parametrize(("only_first", "only_second"), [(9, 2), (2, 9), (5, 5), (0, 6), (0, 0), (40, 61)])
def test_right_or_wrong_at_one_point_is_mcnemar_s_exact_test(only_first: int, only_second: int) -> None:
    differing = only_first + only_second
    expected = stats.binomtest(only_first, differing).pvalue if differing else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected)
    pairs = [(1, 0)] * only_first + [(0, 1)] * only_second + [(1, 1)] * 30 + [(0, 0)] * 10
    values = np.array(pairs, dtype=np.float64)[:, :, None]
    (gap,) = item_gaps(item_curves(values), SHARE, ONE_POINT)
    assert gap.p == pytest.approx(expected)


def test_the_interval_of_right_or_wrong_has_half_a_question_in_each_cell() -> None:
    """Agresti and Min's: b + ½ against c + ½ of n + 2, with Student's t in the place of the normal quantile."""
    b, c, n = 7, 2, 60
    differences = np.array([1.0] * b + [-1.0] * c + [0.0] * (n - b - c))
    estimate = (b - c) / (n + 2)
    stderr = np.sqrt((b + c + 1) - (b - c) ** 2 / (n + 2)) / (n + 2)
    summary = paired(differences, 1.0)
    half = stats.t.ppf(0.975, n - 1) * stderr
    assert summary.mean == pytest.approx((b - c) / n)
    assert (summary.low, summary.high) == pytest.approx((estimate - half, estimate + half))


def test_items_that_all_agree_do_not_prove_that_the_orders_are_equal() -> None:
    few, many = (paired(np.zeros(count), 1.0) for count in (10, 400))
    assert few.p == many.p == 1.0
    assert not few.within(0.05) and many.within(0.05)


def test_swapping_the_orders_flips_the_sign_alone() -> None:
    values = np.random.default_rng(3).integers(0, 2, (40, 2, 4)).astype(np.float64)
    for scale in (SHARE, OPEN):
        (one,) = item_gaps(item_curves(values), scale, TRAPEZOID)
        (other,) = item_gaps(item_curves(values[:, ::-1]), scale, TRAPEZOID)
        assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
        assert one.p == pytest.approx(other.p)


def test_a_finer_grid_of_the_same_lines_changes_nothing_where_the_range_is_open() -> None:
    values, fine = drawn(20), np.sort(np.concatenate([X, [0.3, 0.5, 0.9]]))
    between = np.stack([[np.interp(fine, X, line) for line in item] for item in values])
    (coarse,), (refined,) = (
        item_gaps(item_curves(v), OPEN, Reach(x).pieces().whole()) for v, x in ((values, X), (between, fine))
    )
    assert (coarse.mean, coarse.low, coarse.p) == pytest.approx((refined.mean, refined.low, refined.p))


def test_uneven_items_are_a_ratio_of_sums() -> None:
    """Mean and variance of the ratio estimator (Cochran 1977), and exp by the delta method."""
    values, weights = drawn(15, points=1), np.arange(1.0, 16.0)
    means = [np.average(values[:, order, 0], weights=weights) for order in (0, 1)]
    (logarithm,) = item_gaps(item_curves(values, weights), OPEN, ONE_POINT)
    residuals = weights * (values[:, 0, 0] - values[:, 1, 0] - (means[0] - means[1])) / weights.mean()
    assert logarithm.mean == pytest.approx(means[0] - means[1])
    assert logarithm.stderr == pytest.approx(np.sqrt((residuals**2).sum() / (15 * 14)))
    (perplexity,) = item_gaps(item_curves(values, weights, exponential=True), OPEN, ONE_POINT)
    tangents = [np.exp(m) * weights * (values[:, o, 0] - m) / weights.mean() for o, m in enumerate(means)]
    assert perplexity.mean == pytest.approx(np.exp(means[0]) - np.exp(means[1]))
    assert perplexity.stderr == pytest.approx((tangents[0] - tangents[1]).std(ddof=1) / np.sqrt(15))


@pytest.mark.parametrize("scale", [SHARE, HIGHER])
def test_the_error_of_right_or_wrong_has_two_more_questions_at_each_end(scale: Scale) -> None:
    """Agresti and Coull's interval, with Student's t in the place of the normal quantile."""
    right = np.zeros((40, 2, 1))
    right[:13, 0], right[:20, 1] = 1.0, 1.0
    wrong = 13 if scale is SHARE else 20
    error = item_scores(item_curves(right), scale, ONE).order_free_error
    share = (wrong + 2) / 44
    half = stats.t.ppf(0.975, 39) * np.sqrt(share * (1 - share) / 44)
    assert error.mean == pytest.approx(wrong / 40)
    assert (error.low, error.high) == pytest.approx((share - half, share + half))


def test_where_curves_cross_each_metric_is_that_of_the_mean_curves() -> None:
    values = drawn(40) + np.array([[[0.3, 0.2, -0.2, -0.3], [0.0] * 4]])
    told = item_scores(item_curves(values), OPEN, Reach(X))
    measured = scores(values.mean(axis=0)[None, None], OPEN, Reach(X[None]))
    assert told.order_free_error.mean == pytest.approx(measured.order_free_error.mean[0])
    assert told.order_sensitivity.mean == pytest.approx(measured.order_sensitivity.mean[0])
    assert told.order_sensitivity.mean > 2 * abs(told.gaps[0].mean or 0.0)
    over = scores(values[None], OPEN, Reach(X[None]))
    assert told.order_free_error.low == pytest.approx(over.order_free_error.low[0])
    assert told.order_sensitivity.high == pytest.approx(over.order_sensitivity.high[0])


def answers(draw: Generator, chances: Array, items: int, alike: float) -> Array:
    """Right or wrong `[items, orders, points]`: a question that is hard after one order is hard after the other."""
    shared, own = draw.random((items, 1, 1)), draw.random((items, *chances.shape))
    return np.asarray(np.where(draw.random(own.shape) < alike, shared, own) < chances, dtype=np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("items", [64, 160])
@pytest.mark.parametrize("points", [1, 4])
@pytest.mark.parametrize(("level", "effect", "alike"), [(0.6, 0.0, 0.5), (0.6, 0.1, 0.8), (0.9, 0.08, 0.8)])
def test_intervals_hold_the_truth(level: float, effect: float, alike: float, points: int, items: int) -> None:
    draw = np.random.default_rng([items, points])
    chances = np.clip(level + np.array([[effect], [0.0]]) - np.linspace(0, 0.15, points), 0, 1)
    reach = Reach(np.arange(float(points)) if points > 1 else ONE.x)
    error = float(1 - chances[0] @ reach.pieces().whole())
    held = np.zeros(2)
    for _ in range(2000):
        told = item_scores(item_curves(answers(draw, chances, items, alike)), HIGHER, reach)
        told_of = ((told.gaps[0], effect), (told.order_free_error, error))
        held += [(s.low or 0.0) <= truth <= (s.high or 0.0) for s, truth in told_of]
    gap, ideal = held / 2000
    assert 0.93 <= gap <= 0.97
    if effect:  # of equal orders the one that did better is taken
        assert ideal >= 0.93 and (ideal <= 0.97 or error < 0.1)  # of few wrong answers, no interval covers just 95 %


@pytest.mark.slow
def test_intervals_of_uneven_items_hold_the_truth() -> None:
    draw, held = np.random.default_rng(7), 0
    for _ in range(2000):
        weights = draw.integers(20, 129, 40).astype(np.float64)
        losses = draw.normal(1.5, 0.6, (40, 1, 1)) + draw.normal(0, 0.2, (40, 2, 4)) + np.array([[[0.1], [0.0]]])
        (gap,) = item_gaps(item_curves(losses, weights), OPEN, TRAPEZOID)
        assert gap.low is not None and gap.high is not None
        held += gap.low <= 0.1 <= gap.high
    assert 0.93 <= held / 2000 <= 0.97
