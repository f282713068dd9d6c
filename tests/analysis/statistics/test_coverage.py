"""Nominal 95 % intervals in seeded simulations of sweeps: how often they hold the truth, and false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator

from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, Scores, scores
from rayci.analysis.statistics.verdicts import MATTERS, Evidence, joint_p, verdicts
from rayci.kinds import Direction, Scale

pytestmark = pytest.mark.slow

HIGHER, GAMMAS = Scale(Direction.HIGHER, 0.0, 1.0), np.array([0.25, 0.45, 0.65])
TABLES = 2000
ITEMS = 50
APART = np.array([[0.8, 0.6, 0.3], [0.9, 0.7, 0.6]])
CEILING = np.array([[0.97, 0.95, 0.90], [0.98, 0.97, 0.95]])


def measured(draw: Generator, shares: Array, cells: int, count: int, seeds: int, spread: float) -> Scores:
    """Cells of shares of right items, with an effect of the batch and of batch × order."""
    effects = draw.normal(0, spread, (cells, count, 2, 1)) + draw.normal(0, spread, (cells, count, 1, 1))
    chances = np.clip(shares + effects, 0, 1)
    right = sum(draw.binomial(ITEMS, chances) for _ in range(seeds))
    return scores(right / seeds / ITEMS, HIGHER, Reach(np.tile(GAMMAS, (cells, 1))))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize(("shares", "spread"), [(APART, 0.03), (CEILING, 0.0)], ids=["apart", "ceiling"])
def test_intervals_hold_the_truth(shares: Array, spread: float, count: int, seeds: int) -> None:
    truth = scores(shares[None, None], HIGHER, Reach(GAMMAS[None]))
    held = measured(np.random.default_rng([count, seeds]), shares, TABLES, count, seeds, spread)
    for metric in ("gaps", "order_free_error", "order_sensitivity"):
        interval, true = getattr(held, metric), getattr(truth, metric).mean
        inside = (interval.low <= true) & (true <= interval.high)
        assert 0.93 <= inside.mean() <= 0.97, metric


@pytest.mark.parametrize("count", [3, 5, 10])
def test_order_seldom_matters_where_it_has_no_effect(count: int) -> None:
    draw, equal = np.random.default_rng(count), np.repeat(APART[:1], 2, axis=0)
    alarms = 0
    for _ in range(500):
        gaps = measured(draw, equal, 20, count, 1, 0.03).gaps
        evidence = replace(Evidence.of(20), gap=gaps.mean[:, 0], p=joint_p(gaps), inside=gaps.within(0.05)[:, 0])
        alarms += MATTERS in verdicts(evidence)[1]
    assert alarms / 500 <= 0.06
