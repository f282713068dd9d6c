"""Ray for the trials of a sweep: joined or started once, after all that can be refused has been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from rayci.data import downloaded_files
from rayci.forecast.estimator import Estimator
from rayci.kinds import Keep
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.running.node_report import Needs
from rayci.trials import capacity, machine
from rayci.trials.assignment import device_for
from rayci.trials.capacity import Capacity
from rayci.trials.cluster import connected
from rayci.trials.knobs import Knobs
from rayci.trials.placement import refuse_beyond_limit, unplaceable
from rayci.trials.preflight import Preflight, preflight
from rayci.trials.reservations import Reservations, reservations_of
from rayci.trials.run_folder import RunFolder


@dataclass(frozen=True)
class Prepared:
    """A sweep that is about to run."""

    sweep: Sweep
    plan: Plan
    estimator: Estimator
    knobs: Knobs
    folder: RunFolder
    blame: Blame
    """Where the spec says what trials reserve."""


@dataclass(frozen=True)
class Session:
    """What trials reserve, and what they may run on."""

    reservations: Reservations
    capacity: Capacity
    blame: Blame
    unplaced: Mapping[int, str]
    """Trials that no node can hold, by index in the plan, each with the reason of its rows."""
    preflight: Preflight = field(default_factory=Preflight)


@contextmanager
def session(asked: Prepared, trials: Sequence[int]) -> Iterator[Session]:
    """Ray is there inside, if any of these `trials` can run.

    RequestError where one fits on no node, see `Resources.unplaceable`, or where a node lacks what trials need.
    """
    knobs, resources = asked.knobs, asked.plan.spec.resources
    with asked.blame("resources"):
        reservations = reservations_of(asked.plan, asked.estimator)
    refuse_beyond_limit(asked.plan, trials, reservations, knobs.gpu_limit)
    workers = machine.workers(knobs, resources)
    own = capacity.of_machine(knobs, resources, reservations)
    # On one machine it is told before Ray starts, which takes seconds; a GPU is looked at by another process, which
    # gives its memory back.
    at_once = own is not None and device_for(asked.plan.spec, reservations.largest()) == "cpu"
    if own is not None:
        found = _placed(asked, trials, reservations, own)
        found = _looked_at(asked, trials, found, own, workers) if at_once else found
        if len(found.unplaced) == len(trials):
            yield found
            return
    with connected(knobs, resources, workers=workers, gpus=machine.gpus(resources, reservations, workers)):
        if own is None:
            found = _placed(asked, trials, reservations, capacity.of_cluster())
        if not at_once:
            found = _looked_at(asked, trials, found, found.capacity.now(), workers if own else None)
        yield found


def _placed(asked: Prepared, trials: Sequence[int], reservations: Reservations, places: Capacity) -> Session:
    unplaced = unplaceable(asked.plan, trials, reservations, places, asked.blame)
    return Session(reservations, places, asked.blame, unplaced)


def _looked_at(
    asked: Prepared, trials: Sequence[int], found: Session, places: Capacity, workers: int | None
) -> Session:
    placed = [found.reservations.of(index) for index in trials if index not in found.unplaced]
    if not asked.knobs.preflight or not placed:
        return found
    needs = _needs(asked, found.reservations.largest(), workers)
    return replace(found, preflight=preflight(places, needs, min(placed, key=lambda amounts: amounts["GPU"])))


def _needs(asked: Prepared, share: float, workers: int | None) -> Needs:
    estimate, downloads = asked.estimator.of(asked.plan, workers=workers or 1), downloaded_files.folder()
    disk = {
        Keep.SHARED: estimate.disk_bytes,
        Keep.ALL: estimate.disk_keeping_all_bytes,
        Keep.NONE: estimate.disk_keeping_none_bytes,
    }[Keep(asked.knobs.keep)]
    limits = [size for size in (disk, asked.knobs.store_limit) if size is not None]
    return Needs(
        asked.sweep.spec,
        asked.sweep.commit,
        asked.folder.store,
        gpu=device_for(asked.plan.spec, share) != "cpu",
        share=share,
        workers=workers,
        device_bytes=estimate.memory_bytes,
        host_bytes=asked.estimator.host_memory(asked.plan),
        disk_bytes=None if disk is None else max(0, min(limits) - asked.folder.open_store().taken()),
        downloads=None if downloads is None else str(downloads),
    )
