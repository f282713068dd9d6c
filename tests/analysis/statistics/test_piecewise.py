"""Straight lines between points: crossings, integrals and shares by hand, and that a finer grid changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rayci.analysis.statistics.piecewise import Array, at, cut, segments, share_above, weigh, weights

X = np.array([0.0, 1.0, 3.0])
GRIDS = st.lists(st.integers(0, 40), min_size=2, max_size=6, unique=True).map(lambda xs: np.array(sorted(xs)) / 8)


def integral(x: Array, values: Array, *, rescale: bool = False) -> float:
    return float(weigh(segments(values), weights(x, rescale=rescale)))


def test_curves_are_cut_where_they_cross() -> None:
    curves = np.array([[0.0, 1.0, 0.0], [1.0, 0.5, 0.5]])
    # d = −1, .5, −.5: zero at 2/3 of the first segment and in the middle of the second
    assert cut(X, curves) == pytest.approx([0, 2 / 3, 1, 2, 3])


def test_zeros_and_equal_distances_from_zero() -> None:
    curves = np.array([[-1.0, 1.0], [3.0, 3.0]])
    assert cut(X[:2], curves, zeros=True) == pytest.approx([0, 0.5, 1])
    assert cut(X[:2], np.array([[-2.0, 2.0], [1.0, 1.0]]), zeros=True) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_nothing_crosses_at_infinity() -> None:
    curves = np.array([[np.inf, 1.0, 0.0], [2.0, 2.0, np.inf]])
    assert cut(X, curves) == pytest.approx(X)
    assert at(X, curves, X).tolist() == curves.tolist()


def test_integrals_by_hand() -> None:
    assert integral(X, np.array([0.5, 0.3, 0.3])) == pytest.approx(0.4 + 0.6)
    assert integral(X, np.array([0.5, 0.3, 0.3]), rescale=True) == pytest.approx(1 / 3)
    assert integral(X[:1], np.array([0.5]), rescale=True) == 0.5
    assert np.isnan(integral(X[:1], np.array([0.5])))


def test_a_segment_left_out_counts_nothing_and_may_be_infinite() -> None:
    kept = np.array([True, False])
    means = segments(np.array([1.0, 2.0, np.inf]))
    assert weigh(means, weights(X, kept, rescale=True)) == pytest.approx(1.5)


def test_share_of_the_range_is_exact() -> None:
    line = np.array([1.0, -1.0, -1.0])
    assert share_above(X, line[None]) == pytest.approx(0.5 / 3)
    assert share_above(X, np.stack([line, -line])) == 0.0
    assert share_above(X[:1], line[None, :1]) == 1.0


@given(GRIDS, st.data())
def test_a_finer_grid_of_the_same_lines_changes_nothing(x: Array, data: st.DataObject) -> None:
    curves = data.draw(arrays(np.float64, (3, len(x)), elements=st.floats(-1, 1)))
    finer = np.unique(np.concatenate([x, (x[1:] + x[:-1]) / 2, x[:-1] + np.diff(x) / 3]))
    refined = at(x, curves, finer)
    for reduced in (lambda lines: lines.max(axis=0), lambda lines: np.abs(lines).min(axis=0), np.ptp):
        over = {"axis": 0} if reduced is np.ptp else {}
        coarse, fine = (cut(grid, lines, zeros=True) for grid, lines in ((x, curves), (finer, refined)))
        first = integral(coarse, reduced(at(x, curves, coarse), **over))
        second = integral(fine, reduced(at(finer, refined, fine), **over))
        assert first == pytest.approx(second, abs=1e-9)
