"""Who is undominated, by comparing all with all; the probability that the first is best, where it has a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from rayci.analysis.answering.certainty import chances, sampled
from rayci.analysis.answering.chains import chains
from rayci.analysis.answering.needs import Objective, need, quantity
from rayci.analysis.answering.pareto import undominated
from rayci.analysis.statistics.piecewise import Array
from rayci.table import Row
from tests.analysis.synthetic_table import SCALES, row, table


@settings(max_examples=60, deadline=None)
@given(arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4).map(float)))
def test_undominated_is_what_nobody_beats(costs: Array) -> None:
    beaten = [any((o <= own).all() and (o < own).any() for o in costs) for own in costs]
    assert list(undominated(costs)) == [not one for one in beaten]


def _best(rows: list[Row], *needs: str, maximize: str = "mmlu") -> float:
    """Of the chain `ft`."""
    objective = Objective(quantity(maximize, SCALES, "--maximize"), minimize=False)
    measured = sorted(chains(table(rows)), key=lambda chain: chain.composition != "ft")
    return float(chances(sampled(measured, [need(text, SCALES) for text in needs], objective)).best[0])


FIRST, SECOND = (0.62, 0.55, 0.60, 0.58), (0.60, 0.54, 0.57, 0.58)


def _rows(criterion: str, by_chain: dict[str, tuple[float, ...]]) -> list[Row]:
    return [row(c, criterion, value, replicate=k) for c, values in by_chain.items() for k, value in enumerate(values)]


def test_two_chains_on_the_same_batches_are_paired() -> None:
    gap = np.subtract(FIRST, SECOND)
    exact = norm.cdf(gap.mean() / (gap.std(ddof=1) / 2))
    assert _best(_rows("mmlu", {"ft": FIRST, "memit": SECOND})) == pytest.approx(exact, abs=0.015)
    apart = norm.cdf(gap.mean() / np.hypot(np.std(FIRST, ddof=1), np.std(SECOND, ddof=1)) * 2)
    assert abs(apart - exact) > 0.03  # the test can tell pairing from its absence


def test_two_chains_on_different_units_are_not() -> None:
    rows = _rows("mmlu", {"ft": FIRST}) + [row("gd", "mmlu", value, seed=k) for k, value in enumerate(SECOND)]
    spread = np.hypot(np.std(FIRST, ddof=1), np.std(SECOND, ddof=1)) / 2
    exact = norm.cdf((np.mean(FIRST) - np.mean(SECOND)) / spread)
    assert _best(rows) == pytest.approx(exact, abs=0.015)


def test_a_need_counts_by_the_chance_of_keeping_it() -> None:
    rows = _rows("mmlu", {"ft": (0.9,) * 4, "memit": (0.5,) * 4})
    rows += _rows("wmdp", {"ft": FIRST, "memit": (0.1,) * 4})
    exact = norm.cdf((0.6 - np.mean(FIRST)) / (np.std(FIRST, ddof=1) / 2))
    assert _best(rows, "wmdp<=0.6") == pytest.approx(exact, abs=0.015)


def test_one_measurement_has_the_noise_of_its_items() -> None:
    rows = [row("gd", "perplexity", 4.0, stderr=0.1), row("ft", "perplexity", 4.1, stderr=0.05)]
    exact = norm.cdf(0.1 / np.hypot(0.1, 0.05))
    assert _best(rows, maximize="perplexity") == pytest.approx(exact, abs=0.015)


def test_the_size_of_a_criterion_counts() -> None:
    rows = _rows("mmlu", {"ft": (0.5,) * 4}) + _rows("privleak", {"ft": (-11.0, -9.0, -10.0, -10.0)})
    exact = norm.cdf(0.0)
    assert _best(rows, "abs(privleak)<=10") == pytest.approx(exact, abs=0.015)
    assert _best(rows, "abs(privleak)>=10") == pytest.approx(exact, abs=0.015)
