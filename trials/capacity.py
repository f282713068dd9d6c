"""Whether there is a node for every trial: asked before one is handed out, for Ray waits without a word for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rayci.errors import RequestError
from rayci.forecast.estimator import Estimator
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan
from rayci.planning.resources import Resources
from rayci.trials import machine, ray_internals
from rayci.trials.cluster import connected
from rayci.trials.knobs import Knobs
from rayci.trials.process import ray_runs
from rayci.trials.reservations import GIB, Reservations, reservations_of

HEAD_ANSWERS = 60.0
"""Seconds that the head is given to say what its autoscaler can start."""


@dataclass(frozen=True)
class Place:
    """A node, or a type of node that an autoscaler can start."""

    name: str
    resources: Mapping[str, float]
    """Amounts as Ray names them: CPU, GPU, memory (bytes)."""

    def gives(self, reservation: Mapping[str, float]) -> bool:
        """Whether a trial that reserves so much can run here."""
        return all(self.resources.get(name, 0.0) >= amount for name, amount in reservation.items())


def fitting_reservations(
    plan: Plan, trials: Sequence[int], estimator: Estimator, knobs: Knobs, blame: Blame
) -> Reservations:
    """What each trial reserves; RequestError where one of these `trials` fits on no node."""
    with blame("resources"):
        reservations = reservations_of(plan, estimator)
    refuse_beyond_limit(plan, trials, reservations, knobs.gpu_limit)
    known = places(knobs, plan.spec.resources, reservations)
    if known is not None:
        refuse_too_large(plan, trials, reservations, known, blame)
    return reservations


def places(knobs: Knobs, resources: Resources, reservations: Reservations) -> list[Place] | None:
    """Everything that trials may run on; None where it is not known what the cluster's autoscaler can start."""
    workers = machine.workers(knobs, resources)
    if knobs.address is None and not ray_runs():
        gpus = machine.gpus(resources, reservations, workers)
        return [Place("this machine", {"CPU": machine.cores(), "GPU": gpus, "memory": machine.memory()})]
    with connected(knobs, resources, workers=workers):
        nodes, types = _nodes(), _node_types()
    return None if types is None else [*nodes, *(Place(f"a node of type {name}", types[name]) for name in types)]


def refuse_beyond_limit(plan: Plan, trials: Sequence[int], reservations: Reservations, gpu_limit: float | None) -> None:
    """RequestError for the first of the trials that takes more GPUs than the sweep may; none grows beyond them."""
    if gpu_limit is None:
        return
    for index in trials:
        if (gpus := reservations.gpus(index)) > gpu_limit:
            raise RequestError(
                f"{plan.trials[index].composition!r} reserves {gpus:g} GPU, and the sweep may take {gpu_limit:g}",
                at="--gpu-limit",
                allowed=f"{max(map(reservations.gpus, trials)):g} or more",
            )
    reservations.cap(gpu_limit)


def refuse_too_large(
    plan: Plan, trials: Sequence[int], reservations: Reservations, places: Sequence[Place], blame: Blame
) -> None:
    """RequestError for the first of the trials that no place can hold; none grows beyond the largest place."""
    for index in trials:
        reservation = reservations.of(index)
        if any(place.gives(reservation) for place in places):
            continue
        most = {name: max((place.resources.get(name, 0.0) for place in places), default=0.0) for name in reservation}
        name = next((name for name in reservation if reservation[name] > most[name]), "GPU")
        key = _SAID[name].key
        with blame("resources", key):
            raise RequestError(
                f"{plan.trials[index].composition!r} reserves {_text(reservation)}, which no node can give",
                allowed="; ".join(
                    f"{place.name} has {_text(place.resources, reservation)}" for place in _largest(places, name)
                ),
                hint=f"a smaller `{key}`, or --address of a cluster whose nodes are larger"
                + ("; `gpus: 0` runs on CPUs, `device: cpu` only tries out how trials pack" if name == "GPU" else ""),
            )
    reservations.cap(max((place.resources.get("GPU", 0.0) for place in places), default=0.0))


def _largest(places: Sequence[Place], name: str, shown: int = 4) -> list[Place]:
    return sorted(places, key=lambda place: place.resources.get(name, 0.0), reverse=True)[:shown]


class _Said(NamedTuple):
    """How a resource of Ray's is called in a spec, and said."""

    key: str
    unit: str
    size: int = 1


_SAID = {"CPU": _Said("cpus", "CPU"), "GPU": _Said("gpus", "GPU"), "memory": _Said("memory", "GiB of memory", GIB)}


def _text(resources: Mapping[str, float], names: Iterable[str] | None = None) -> str:
    """The resources of these names, or all of them."""
    names = resources if names is None else names
    return ", ".join(f"{resources.get(name, 0.0) / _SAID[name].size:.4g} {_SAID[name].unit}" for name in names)


def _nodes() -> list[Place]:
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return [Place(f"node {node['NodeManagerAddress']}", node["Resources"]) for node in alive]


def _node_types() -> dict[str, dict[str, float]] | None:
    """Node types that the cluster's autoscaler can start; None where that is not known.

    The head is asked, which alone has the autoscaler's file.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    reported = ray_internals.reported_node_types()
    head = next((node for node in ray.nodes() if ray_internals.HEAD in node["Resources"] and node["Alive"]), None)
    if reported or head is None:
        return reported or None
    on_head = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
    ask = ray.remote(num_cpus=0, scheduling_strategy=on_head)(ray_internals.configured_node_types)
    try:
        answer: dict[str, dict[str, float]] | None = ray.get(
            ask.remote(ray.get_runtime_context().gcs_address), timeout=HEAD_ANSWERS
        )
    except (RayError, OSError, KeyError, ValueError):  # rayci is not installed there, the file is another's
        return None
    return answer
