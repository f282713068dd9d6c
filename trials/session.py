"""Ray for the trials of a sweep: joined or started once, after all that can be refused has been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rayci.forecast.estimator import Estimator
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan
from rayci.trials import capacity, machine
from rayci.trials.capacity import Capacity
from rayci.trials.cluster import connected
from rayci.trials.knobs import Knobs
from rayci.trials.placement import refuse_beyond_limit, unplaceable
from rayci.trials.reservations import Reservations, reservations_of


@dataclass(frozen=True)
class Session:
    """What trials reserve, and what they may run on."""

    reservations: Reservations
    capacity: Capacity
    blame: Blame
    """Where the spec says what trials reserve."""
    unplaced: Mapping[int, str]
    """Trials that no node can hold, by index in the plan, each with the reason of its rows."""


@contextmanager
def session(plan: Plan, trials: Sequence[int], estimator: Estimator, knobs: Knobs, blame: Blame) -> Iterator[Session]:
    """Ray is there inside; RequestError where one of these `trials` fits on no node, see `Resources.unplaceable`."""
    resources = plan.spec.resources
    with blame("resources"):
        reservations = reservations_of(plan, estimator)
    refuse_beyond_limit(plan, trials, reservations, knobs.gpu_limit)
    own = capacity.of_machine(knobs, resources, reservations)
    if own is not None:  # Ray takes seconds to start
        unplaced = unplaceable(plan, trials, reservations, own, blame)
        if len(unplaced) == len(trials):
            yield Session(reservations, own, blame, unplaced)
            return
    workers = machine.workers(knobs, resources)
    gpus = machine.gpus(resources, reservations, workers)
    with connected(knobs, resources, workers=workers, gpus=gpus):
        if own is None:
            own = capacity.of_cluster()
            unplaced = unplaceable(plan, trials, reservations, own, blame)
        yield Session(reservations, own, blame, unplaced)
