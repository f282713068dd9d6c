"""Reservations of a GPU: from bytes to steps, and growing after out of memory."""

from __future__ import annotations

import pytest

from rayci.forecast.share import fitting
from rayci.trials.reservations import Reservations

GIB = 2**30


@pytest.mark.parametrize(
    ("memory", "share"), [(1, 0.125), (10, 0.125), (10.1, 0.25), (40, 0.5), (41, 1), (80, 1), (81, 2), (9000, 8)]
)
def test_the_smallest_step_that_fits(memory: float, share: float) -> None:
    assert fitting(memory * GIB, 80 * GIB) == share


def test_growing_ends_at_the_most() -> None:
    reservations = Reservations(cpus=2, first=[0.3, 0.25], most=1)
    seen = []
    while not reservations.last(1):
        seen.append(reservations.of(1))
        reservations.enlarge(1)
    assert seen == [{"CPU": 2, "GPU": 0.25}, {"CPU": 2, "GPU": 0.5}]
    assert reservations.gpus(1) == 1 and reservations.gpus(0) == 0.3
    reservations.enlarge(0)
    assert reservations.gpus(0) == 0.5


def test_without_a_gpu_there_is_nothing_to_grow() -> None:
    assert Reservations(cpus=1, first=[0, 0], most=1).last(0)
