"""The metrics by hand, in every direction, at infinity, and as properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayci.analysis.statistics import composability
from rayci.kinds import Direction, Scale

HIGHER = Scale(Direction.HIGHER, 0.0, 1.0)
LOWER = Scale(Direction.LOWER, 0.0, 1.0)
ZERO = Scale(Direction.ZERO, -100.0, 100.0)
SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("scale", "values", "best", "error"),
    [
        (HIGHER, (0.9, 0.7), 0.9, 0.1),
        (Scale(Direction.HIGHER, 0.0, 100.0), (55.0, 66.9), 66.9, 33.1),
        (LOWER, (0.29, 0.45), 0.29, 0.29),
        (ZERO, (-5.0, 40.0), -5.0, 5.0),
        (ZERO, (-57.0, -99.8), -57.0, 57.0),
    ],
)
def test_best_and_error_follow_the_direction(
    scale: Scale, values: tuple[float, float], best: float, error: float
) -> None:
    assert composability.best(np.array(values), scale) == best
    assert composability.order_free_error(np.array(values), scale) == pytest.approx(error)


def test_no_top_no_error() -> None:
    assert np.isnan(composability.order_free_error(np.array([5.1, 6.2]), Scale(Direction.HIGHER, 0.0, None)))


def test_no_direction_has_no_best() -> None:
    with pytest.raises(ValueError, match="direction"):
        composability.best(np.array([1.0, 2.0]), Scale(Direction.NONE))


def test_orders_down_points_across() -> None:
    curves = np.array([[0.2, 0.9], [0.9, 0.1], [0.6, 0.5]])
    assert composability.best(curves, HIGHER).tolist() == [0.9, 0.9]
    assert composability.order_sensitivity(curves) == pytest.approx([0.7, 0.8])


def test_infinity_is_a_value_but_has_no_difference_to_itself() -> None:
    curves = np.array([[math.inf, math.inf], [12.0, math.inf]])
    assert composability.order_free_error(curves, LOWER).tolist() == [12.0, math.inf]
    assert composability.order_sensitivity(curves)[0] == math.inf
    assert np.isnan(composability.order_sensitivity(curves)[1])


@given(a=SHARES, b=SHARES)
def test_metrics_stay_in_range_and_know_no_order(a: float, b: float) -> None:
    there, back = np.array([a, b]), np.array([b, a])
    for scale in (HIGHER, LOWER, ZERO):
        assert composability.order_free_error(there, scale) == composability.order_free_error(back, scale)
        assert 0 <= composability.order_free_error(there, scale) <= 1
    assert 0 <= composability.order_sensitivity(there) == composability.order_sensitivity(back) <= 1
