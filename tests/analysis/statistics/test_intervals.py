"""Means, intervals, p and their adjustment, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rayci.analysis.statistics.intervals import Summary, difference, holm, of_items, summaries, summarise

TEN = [0.91, 0.84, 0.88, 0.79, 0.93, 0.86, 0.90, 0.82, 0.87, 0.85]
DIFFERENCES = [0.02, -0.01, 0.04, 0.03, 0.01]


@pytest.mark.parametrize("values", [TEN, DIFFERENCES, DIFFERENCES[:3]])
def test_against_scipy(values: list[float]) -> None:
    summary, reference = summarise(values), stats.ttest_1samp(values, 0.0)
    interval = reference.confidence_interval(0.95)
    assert (summary.mean, summary.stderr) == (pytest.approx(np.mean(values)), pytest.approx(stats.sem(values)))
    assert (summary.low, summary.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert summary.p == pytest.approx(reference.pvalue)


def test_equivalence_is_two_one_sided_tests() -> None:
    summary = summarise(DIFFERENCES)
    for margin in (0.03, 0.036, 0.037, 0.05):
        below = stats.ttest_1samp(DIFFERENCES, margin, alternative="less").pvalue
        above = stats.ttest_1samp(DIFFERENCES, -margin, alternative="greater").pvalue
        assert summary.within(margin) == (max(below, above) < 0.05)


def test_below_three_units_there_is_no_interval() -> None:
    assert summarise([]) == Summary(None, None, None, None, None, 0)
    assert summarise([0.5]) == Summary(0.5, None, None, None, None, 1)
    two = summarise([0.2, 0.6])
    assert (two.mean, two.low, two.high, two.p) == (pytest.approx(0.4), None, None, None)
    assert not two.within(10.0)


def test_infinity_is_a_mean_without_interval_and_never_nan() -> None:
    assert summarise([1.0, math.inf]) == Summary(math.inf, None, None, None, None, 2)
    assert summarise([-math.inf, math.inf]).mean is None


def test_equal_units_leave_no_doubt() -> None:
    assert summarise([0.0, 0.0, 0.0]).p == 1.0
    assert summarise([0.25, 0.25, 0.25]).p == 0.0


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_many_cells_at_once_are_each_as_alone() -> None:
    cells = np.array([[0.2, 0.5, 0.9], [1.0, 1.0, 1.0], [0.1, math.inf, 0.3], [0.1, math.nan, 0.3], [0.0, 0.0, 0.0]])
    together = summaries(cells)
    for number, values in enumerate(cells):
        alone = summarise(values.tolist())
        for name in ("mean", "stderr", "low", "high", "p"):
            assert getattr(together, name)[number] == pytest.approx(
                np.nan if getattr(alone, name) is None else getattr(alone, name), nan_ok=True
            )
    assert together.within(np.full(5, 0.5)).tolist() == [summarise(v.tolist()).within(0.5) for v in cells]


def test_the_difference_of_two_means() -> None:
    first, second = (summarise(values) for values in ([0.1, 0.2, 0.4], [0.5, 0.5, 0.5]))
    exact = difference(first, second)
    assert (exact.low, exact.high) == (pytest.approx((first.low or 0) - 0.5), pytest.approx((first.high or 0) - 0.5))
    assert difference(first, summarise([0.5])).high == exact.high
    assert difference(first, summarise([0.5, 0.5])).low == exact.low
    assert (difference(second, second).low, difference(second, second).p) == (0.0, 1.0)
    assert difference(summarise([0.5]), summarise([0.1])).low is None
    half = float(stats.norm.ppf(0.975)) * 0.05
    items = difference(of_items(0.3, 0.03, 400, share=False), of_items(0.1, 0.04, 400, share=False))
    assert (items.low, items.high) == pytest.approx((0.2 - half, 0.2 + half))
    infinite = summarise([math.inf])
    assert difference(infinite, infinite).mean is None
    assert difference(infinite, first).mean == math.inf and difference(infinite, first).low is None
