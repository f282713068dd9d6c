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
def session(prepared: Prepared, trials: Sequence[int]) -> Iterator[Session]:
    """Ray is there inside, if any of these `trials` can run.

    RequestError where one fits on no node, see `Resources.unplaceable`, or where a node lacks what trials need.
    """
    knobs, resources = prepared.knobs, prepared.plan.spec.resources
    with prepared.blame("resources"):
        reservations = reservations_of(prepared.plan, prepared.estimator)
    refuse_beyond_limit(prepared.plan, trials, reservations, knobs.gpu_limit)
    workers = machine.workers(knobs, resources)
    own = capacity.of_machine(knobs, resources, reservations)
    # On one machine it is told before Ray starts, which takes seconds; a GPU is looked at by another process, which
    # gives its memory back.
    at_once = own is not None and device_for(prepared.plan.spec, reservations.largest()) == "cpu"
    if own is not None:
        found = _placed(prepared, trials, reservations, own)
        found = _looked_at(prepared, trials, found, own, workers) if at_once else found
        if len(found.unplaced) == len(trials):
            yield found
            return
    with connected(knobs, resources, workers=workers, gpus=machine.gpus(resources, reservations, workers)):
        if own is None:
            found = _placed(prepared, trials, reservations, capacity.of_cluster())
        if not at_once:
            found = _looked_at(prepared, trials, found, found.capacity.now(), workers if own else None)
        yield found


def _placed(prepared: Prepared, trials: Sequence[int], reservations: Reservations, places: Capacity) -> Session:
    unplaced = unplaceable(prepared.plan, trials, reservations, places, prepared.blame)
    return Session(reservations, places, prepared.blame, unplaced)


def _looked_at(
    prepared: Prepared, trials: Sequence[int], found: Session, places: Capacity, workers: int | None
) -> Session:
    placed = [found.reservations.of(index) for index in trials if index not in found.unplaced]
    if not prepared.knobs.preflight or not placed:
        return found
    needs = _needs(prepared, found.reservations.largest(), workers)
    return replace(found, preflight=preflight(places, needs, min(placed, key=lambda amounts: amounts["GPU"])))


def _needs(prepared: Prepared, share: float, workers: int | None) -> Needs:
    estimate, downloads = prepared.estimator.of(prepared.plan, workers=workers or 1), downloaded_files.folder()
    disk = estimate.disk(Keep(prepared.knobs.keep))
    limits = [size for size in (disk, prepared.knobs.store_limit) if size is not None]
    return Needs(
        prepared.sweep.spec,
        prepared.sweep.commit,
        prepared.folder.store,
        gpu=device_for(prepared.plan.spec, share) != "cpu",
        share=share,
        workers=workers,
        device_bytes=estimate.memory_bytes,
        host_bytes=prepared.estimator.host_memory(prepared.plan),
        disk_bytes=None if disk is None else max(0, min(limits) - prepared.folder.open_store().taken()),
        downloads=None if downloads is None else str(downloads),
    )
