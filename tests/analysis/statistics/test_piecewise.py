"""Straight lines between points: crossings, integrals and shares by hand, and that a finer grid changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rayci.analysis.statistics.piecewise import Array, pieces, share_above, weigh

X = np.array([0.0, 1.0, 3.0])
GRIDS = st.lists(st.integers(0, 40), min_size=2, max_size=6, unique=True).map(lambda xs: np.array(sorted(xs)) / 8)


def integral(x: Array, values: Array, *, rescale: bool = False) -> float:
    return float(weigh(values, pieces(x, rescale=rescale).whole()))


def cuts(x: Array, lines: Array, *, zeros: bool = False) -> Array:
    """Places between which no two lines cross."""
    return np.unique(pieces(x, lines, zeros=zeros, rescale=False).at(x[None]))


def test_curves_are_cut_where_they_cross() -> None:
    curves = np.array([[0.0, 1.0, 0.0], [1.0, 0.5, 0.5]])
    # d = −1, .5, −.5: zero at 2/3 of the first segment and in the middle of the second
    assert cuts(X, curves) == pytest.approx([0, 2 / 3, 1, 2, 3])


def test_zeros_and_equal_distances_from_zero() -> None:
    curves = np.array([[-1.0, 1.0], [3.0, 3.0]])
    assert cuts(X[:2], curves, zeros=True) == pytest.approx([0, 0.5, 1])
    assert cuts(X[:2], np.array([[-2.0, 2.0], [1.0, 1.0]]), zeros=True) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_nothing_crosses_at_infinity() -> None:
    curves = np.array([[np.inf, 1.0, 0.0], [2.0, 2.0, np.inf]])
    assert cuts(X, curves) == pytest.approx(X)


def test_integrals_by_hand() -> None:
    assert integral(X, np.array([0.5, 0.3, 0.3])) == pytest.approx(0.4 + 0.6)
    assert integral(X, np.array([0.5, 0.3, 0.3]), rescale=True) == pytest.approx(1 / 3)
    assert integral(X[:1], np.array([0.5]), rescale=True) == 0.5
    assert np.isnan(integral(X[:1], np.array([0.5])))


def test_what_is_out_of_bounds_counts_nothing_and_may_be_infinite() -> None:
    # Within its bound up to 1, and beyond it from there on.
    bounded = pieces(X, within=np.array([[1.0, 0.0, -1.0]]), rescale=True)
    assert weigh(np.array([1.0, 2.0, np.inf]), bounded.whole()) == pytest.approx(1.5)
    # The line crosses its bound at 2.
    halfway = pieces(X, within=np.array([[2.0, 1.0, -1.0]]), rescale=False)
    assert weigh(np.array([1.0, 1.0, 3.0]), halfway.whole()) == pytest.approx(1 + 1.5)
    assert np.isnan(pieces(X, within=np.full((1, 3), -1.0), rescale=True).whole()).all()


def test_the_chosen_line_of_each_piece() -> None:
    lines = np.array([[0.0, 1.0], [1.0, 0.0]])
    parts = pieces(X[:2], lines, rescale=True)
    upper = parts.means(lines) == parts.means(lines).max(axis=0)
    assert weigh(lines, parts.coefficients(upper)).sum() == pytest.approx(3 / 4)


def test_share_of_the_range_is_exact() -> None:
    line = np.array([1.0, -1.0, -1.0])
    assert share_above(X, line[None]) == pytest.approx(0.5 / 3)
    assert share_above(X, np.stack([line, -line])) == 0.0
    assert share_above(X[:1], line[None, :1]) == 1.0
    assert share_above(X, np.stack([line, -line])[:, None]) == pytest.approx([0.5 / 3, 2.5 / 3])


@given(GRIDS, st.data())
def test_a_finer_grid_of_the_same_lines_changes_nothing(x: Array, data: st.DataObject) -> None:
    curves = data.draw(arrays(np.float64, (3, len(x)), elements=st.floats(-1, 1)))
    finer = np.unique(np.concatenate([x, (x[1:] + x[:-1]) / 2, x[:-1] + np.diff(x) / 3]))
    refined = np.stack([np.interp(finer, x, curve) for curve in curves])
    for sign in (1.0, -1.0):
        areas = []
        for grid, lines in ((x, curves), (finer, refined)):
            parts = pieces(grid, lines, zeros=True, rescale=False)
            average = sign * parts.means(lines)
            chosen = average.argmax(axis=0) == np.arange(3)[:, None, None]
            areas.append(weigh(lines, parts.coefficients(chosen)).sum())
        assert areas[0] == pytest.approx(areas[1], abs=1e-9)
