"""Nominal 95 % intervals in seeded simulations of sweeps: how often they hold the truth, and false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import Generator

from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, score
from rayci.analysis.statistics.verdicts import MATTERS, Evidence, verdicts
from rayci.kinds import Direction, Scale

pytestmark = pytest.mark.slow

HIGHER, REACH = Scale(Direction.HIGHER, 0.0, 1.0), Reach(np.array([0.25, 0.45, 0.65]))
TABLES = 2000
ITEMS = 50
APART = np.array([[0.8, 0.6, 0.3], [0.9, 0.7, 0.6]])
CEILING = np.array([[0.97, 0.95, 0.90], [0.98, 0.97, 0.95]])


def batches(draw: Generator, shares: Array, count: int, seeds: int, spread: float) -> Array:
    """Measured shares `[count, orders, points]` of right items, with an effect of the batch and of batch × order."""
    effects = draw.normal(0, spread, (count, 2, 1)) + draw.normal(0, spread, (count, 1, 1))
    chances = np.clip(shares + effects, 0, 1)
    right = draw.binomial(ITEMS, np.broadcast_to(chances, (seeds, *chances.shape)))
    return np.asarray(right.mean(axis=0) / ITEMS)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize(("shares", "spread"), [(APART, 0.03), (CEILING, 0.0)], ids=["apart", "ceiling"])
def test_intervals_hold_the_truth(shares: Array, spread: float, count: int, seeds: int) -> None:
    draw = np.random.default_rng([count, seeds])
    metrics = ("gap", "order_free_error", "order_sensitivity")
    truth = score(shares[None], HIGHER, REACH)
    held = dict.fromkeys(metrics, 0)
    for _ in range(TABLES):
        measured = score(batches(draw, shares, count, seeds, spread), HIGHER, REACH)
        for metric in metrics:
            interval = getattr(measured, metric)
            held[metric] += interval.low <= getattr(truth, metric).mean <= interval.high
    for metric, count_held in held.items():
        assert 0.93 <= count_held / TABLES <= 0.97, metric


@pytest.mark.parametrize("count", [3, 5, 10])
def test_order_seldom_matters_where_it_has_no_effect(count: int) -> None:
    draw, equal = np.random.default_rng(count), np.repeat(APART[:1], 2, axis=0)
    alarms = 0
    for _ in range(500):
        gaps = [score(batches(draw, equal, count, 1, 0.03), HIGHER, REACH).gap for _ in range(20)]
        alarms += any(verdict == MATTERS for _, verdict in verdicts([Evidence(gap, 0.05, None, 0) for gap in gaps]))
    assert alarms / 500 <= 0.06
