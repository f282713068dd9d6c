"""Reservations of a GPU: from bytes to steps, and growing after out of memory."""

from __future__ import annotations

from typing import Any

import pytest

from rayci.forecast.estimator import Estimator
from rayci.forecast.share import fitting
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.trials.reservations import PROCESS, Reservations, reservations_of
from rayci.units import GIB


@pytest.mark.parametrize(
    ("memory", "share"), [(1, 0.125), (10, 0.125), (10.1, 0.25), (40, 0.5), (41, 1), (80, 1), (81, 2), (9000, 8)]
)
def test_the_smallest_step_that_fits(memory: float, share: float) -> None:
    assert fitting(lambda gpus: memory * GIB / gpus, 80 * GIB) == share


def test_growing_ends_at_the_most() -> None:
    reservations = Reservations(cpus=2, first=[0.3, 0.25], most=1)
    seen = []
    while reservations.no_more(1) is None:
        seen.append(reservations.of(1))
        reservations.enlarge(1)
    assert seen == [{"CPU": 2, "GPU": 0.25}, {"CPU": 2, "GPU": 0.5}]
    assert reservations.gpus(1) == 1 and reservations.gpus(0) == 0.3
    reservations.enlarge(0)
    assert reservations.gpus(0) == 0.5
    assert reservations.no_more(1) == "max_gpus allows no more"


def test_a_share_grows_to_what_a_node_has_and_goes_back_with_it() -> None:
    reservations = Reservations(cpus=1, first=[1, 8])
    reservations.cap(16)
    for _ in range(5):
        reservations.enlarge(0)
    assert reservations.gpus(0) == 16 and reservations.no_more(0) == "no node has more"
    reservations.cap(4)  # the largest node has gone
    assert reservations.gpus(0) == 4 and reservations.no_more(0) == "no node has more"
    assert reservations.gpus(1) == 8, "what is reserved from the start stays, and is refused or skipped"
    reservations.cap(32)
    assert reservations.gpus(0) == 4


def test_every_trial_reserves_the_same_host_memory() -> None:
    """Of a Llama of 44 MiB: nothing, what is said, or what the largest trial needs; beside a GPU the model's copy."""

    def reserved(**resources: Any) -> int:
        spec = {
            "name": "t",
            "interventions": {"ft": {}, "rtn": {"bits": 4}},
            "criteria": ["avg_bits"],
            "resources": resources,
        }
        planner = Planner(checked := Spec.model_validate(spec), Names(checked))
        reservations = reservations_of(planner.plan(), Estimator(planner, lambda parameters, kind: []))
        memory = {reservations.of(index).get("memory", 0) for index in range(len(reservations.first))}
        return int(memory.pop()) if len(memory) == 1 else -1

    assert reserved() == 0 and reserved(memory=1.5) == 1.5 * GIB
    alone, beside_gpu = reserved(memory="auto") - PROCESS, reserved(memory="auto", gpus=1) - PROCESS
    assert alone > 2 * beside_gpu > 0
    assert reserved(memory="auto", gpus=1, device="cpu") - PROCESS == alone


def test_without_a_gpu_there_is_nothing_to_grow() -> None:
    assert Reservations(cpus=1, first=[0, 0], most=1).no_more(0) == "a trial without a GPU gets no more"
