"""Metrics of curves in closed form, their intervals, and what lost points can do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rayci.analysis.statistics.lost_points import bounds
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, Scores, scores
from rayci.kinds import Direction, Scale

HIGHER, LOWER = Scale(Direction.HIGHER, 0.0, 1.0), Scale(Direction.LOWER, 0.0, 1.0)
ZERO = Scale(Direction.ZERO, -1.0, 1.0)
UNIT = np.array([0.0, 1.0])
SAMPLES = arrays(np.float64, (4, 2, 3), elements=st.integers(0, 50).map(lambda right: right / 50))


def score(values: Array, scale: Scale, x: Array) -> Scores:
    """Of one cell."""
    return scores(values[None], scale, Reach(x[None]))


def of(*curves: list[float], scale: Scale = HIGHER, x: Array = UNIT) -> Scores:
    return score(np.array(curves)[None], scale, x)


def test_crossing_lines() -> None:
    crossing = of([0.0, 1.0], [1.0, 0.0])
    # max(γ, 1 − γ) has area 3/4, |2γ − 1| area 1/2; on the points alone both would be 1.
    assert crossing.order_free_error.mean == pytest.approx(1 / 4)
    assert crossing.order_sensitivity.mean == pytest.approx(1 / 2)
    assert crossing.gaps.mean == pytest.approx(0.0)
    assert of([0.0, 1.0], [1.0, 0.0], scale=LOWER).order_free_error.mean == pytest.approx(1 / 4)


def test_the_formula_of_one_segment() -> None:
    d0, d1, width = 0.3, -0.1, 0.4
    apart = of([0.5 + d0, 0.5 + d1], [0.5, 0.5], x=np.array([0.2, 0.2 + width]))
    assert apart.order_sensitivity.mean == pytest.approx((d0**2 + d1**2) / (2 * (abs(d0) + abs(d1))))
    assert apart.order_free_error.mean == pytest.approx(1 - (0.5 + (apart.order_sensitivity.mean + 0.1) / 2))


def test_three_orders_have_an_envelope() -> None:
    # max(γ, 1 − γ, .7): .7 between .3 and .7, area .7·.4 + 2·(.3·.85); spread: minus min(γ, 1 − γ, .7)
    three = of([0.0, 1.0], [1.0, 0.0], [0.7, 0.7])
    assert three.order_free_error.mean == pytest.approx(1 - (0.28 + 0.51))
    assert three.order_sensitivity.mean == pytest.approx(0.79 - 0.25)
    assert three.gaps.mean[0] == pytest.approx([0.0, -0.2, -0.2])


def test_closest_to_zero_is_cut_at_zero() -> None:
    # |2γ − 1| and .5: the first is closer between .25 and .75
    closest = of([-1.0, 1.0], [0.5, 0.5], scale=ZERO)
    assert closest.order_free_error.mean == pytest.approx(0.25 + 0.125)


def test_metrics_are_of_the_mean_curves_and_the_rest_has_its_own_name() -> None:
    opposite = score(np.array([[[0.2], [0.8]], [[0.8], [0.2]]]), HIGHER, np.zeros(1))
    assert opposite.order_sensitivity.mean == pytest.approx(0.0)
    assert opposite.per_replicate == pytest.approx(0.6)
    assert opposite.corrected == pytest.approx(0.0)


def test_infinite_in_both_orders_has_an_error_but_no_sensitivity() -> None:
    infinite = of([5.0, np.inf], [7.0, np.inf], scale=Scale(Direction.LOWER, 1.0, None))
    assert infinite.order_free_error.mean == np.inf
    assert (infinite.order_sensitivity.mean, infinite.sensitivity_points) == (2.0, 1)


def test_infinite_between_two_points_has_no_sensitivity() -> None:
    # At either end one order is finite, but nowhere between.
    apart = of([5.0, np.inf, 6.0], [np.inf, 7.0, 7.0], scale=Scale(Direction.LOWER, 1.0, None), x=np.arange(3.0))
    assert np.isnan(apart.order_sensitivity.mean)
    assert apart.sensitivity_points == 3


def test_cells_at_once_are_each_as_alone() -> None:
    draw = np.random.default_rng(0)
    values, x = draw.uniform(-1, 1, (7, 4, 3, 5)), np.sort(draw.uniform(0, 1, (7, 5)))
    together = scores(values, ZERO, Reach(x))
    for cell in range(7):
        alone = score(values[cell], ZERO, x[cell])
        for metric in ("order_free_error", "order_sensitivity", "gaps"):
            assert getattr(together, metric).high[cell] == pytest.approx(getattr(alone, metric).high[0])
        assert together.per_replicate[cell] == pytest.approx(alone.per_replicate[0])


@given(SAMPLES)
def test_swapping_the_orders_flips_the_gap_alone(values: Array) -> None:
    x = np.array([0.1, 0.5, 0.6])
    there, back = score(values, HIGHER, x), score(values[:, ::-1], HIGHER, x)
    assert there.gaps.mean == pytest.approx(-back.gaps.mean)
    assert (there.gaps.low, there.gaps.high) == (pytest.approx(-back.gaps.high), pytest.approx(-back.gaps.low))
    for metric in ("order_free_error", "order_sensitivity"):
        assert getattr(there, metric).mean == pytest.approx(getattr(back, metric).mean, abs=1e-12)
    assert there.by_order[0].tolist() == back.by_order[0, ::-1].tolist()


@given(SAMPLES)
def test_equal_curves_differ_by_nothing(values: Array) -> None:
    equal = score(np.repeat(values[:, :1], 2, axis=1), HIGHER, np.array([0.1, 0.5, 0.6]))
    assert equal.gaps.mean == equal.order_sensitivity.mean == equal.per_replicate == equal.corrected == 0.0


@given(SAMPLES, st.data())
def test_losing_points_gains_nothing(values: Array, data: st.DataObject) -> None:
    x = np.array([0.1, 0.5, 0.6])
    whole = score(values, HIGHER, x)
    lost = data.draw(arrays(np.bool_, values.shape))
    if not lost.any():
        return
    within = bounds(np.where(lost, np.nan, values)[None], HIGHER, Reach(x[None]))
    for ends, metric in (
        (within.order_free_error, whole.order_free_error.mean),
        (within.order_sensitivity, whole.order_sensitivity.mean),
        (within.gap, whole.gaps.mean),
    ):
        assert ends[0, 0] - 1e-12 <= metric.item() <= ends[0, 1] + 1e-12


def test_a_lost_point_of_an_open_range_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="open range"):
        bounds(np.full((1, 1, 2, 2), np.nan), Scale(Direction.LOWER, 1.0, None), Reach(UNIT[None]))
