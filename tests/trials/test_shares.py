"""Shares of a GPU: from bytes to steps, and growing after out of memory."""

from __future__ import annotations

import pytest

from rayci.forecast.share import fitting
from rayci.trials.shares import Shares

GIB = 2**30


@pytest.mark.parametrize(
    ("memory", "share"), [(1, 0.125), (10, 0.125), (10.1, 0.25), (40, 0.5), (41, 1), (80, 1), (81, 2), (9000, 8)]
)
def test_the_smallest_step_that_fits(memory: float, share: float) -> None:
    assert fitting(memory * GIB, 80 * GIB) == share


def test_growing_ends_at_the_most() -> None:
    shares = Shares(cpus=2, first=lambda index: 0.25 if index else 0.3, most=1)
    seen = []
    while not shares.last(1):
        seen.append(shares.of(1))
        shares.enlarge(1)
    assert seen == [{"CPU": 2, "GPU": 0.25}, {"CPU": 2, "GPU": 0.5}]
    assert shares.gpus(1) == 1 and shares.gpus(0) == 0.3
    shares.enlarge(0)
    assert shares.gpus(0) == 0.5


def test_without_a_gpu_there_is_nothing_to_grow() -> None:
    assert Shares(cpus=1, first=lambda index: 0, most=1).last(0)
