"""What trials may run on: nodes that are there, and types of node that the cluster's autoscaler can start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rayci.forecast.host import cores, host_bytes
from rayci.planning.resources import Resources
from rayci.trials import machine, ray_internals
from rayci.trials.knobs import Knobs
from rayci.trials.process import ray_runs
from rayci.trials.reservations import Reservations

HEAD_ANSWERS = 60.0
"""Seconds that the head is given to say what its autoscaler can start."""


@dataclass(frozen=True)
class Place:
    """A node, or a type of node that an autoscaler can start."""

    name: str
    resources: Mapping[str, float]
    """Amounts as Ray names them: CPU, GPU."""
    node: str = ""
    """Ray's id of the node; of a type of node none."""

    def gives(self, reservation: Mapping[str, float]) -> bool:
        """Whether a trial that reserves so much can run here."""
        return all(self.resources.get(name, 0.0) >= amount for name, amount in reservation.items())


@dataclass(frozen=True)
class Capacity:
    """All places of a machine or a cluster."""

    nodes: Sequence[Place]
    types: Sequence[Place] | None = ()
    """Types of node that can be started; None where there may be some, and nobody can say which."""

    @property
    def places(self) -> Sequence[Place]:
        """Nodes and types that are known."""
        return [*self.nodes, *(self.types or ())]

    def most(self, name: str) -> float:
        """The most of a resource that one known place has."""
        return max((place.resources.get(name, 0.0) for place in self.places), default=0.0)

    def lacks(self, reservation: Mapping[str, float]) -> bool:
        """Whether no place will ever hold a trial that reserves so much."""
        return self.types is not None and not any(place.gives(reservation) for place in self.places)

    def now(self) -> Capacity:
        """The same with the nodes that are up at this moment."""
        return replace(self, nodes=_nodes())


def of_machine(knobs: Knobs, resources: Resources, reservations: Reservations) -> Capacity | None:
    """This machine, where trials will run on it; None where they run on a Ray that is there."""
    if knobs.address is not None or ray_runs():
        return None
    gpus = machine.gpus(resources, reservations, machine.workers(knobs, resources))
    return Capacity([Place("this machine", {"CPU": cores(), "GPU": gpus, "memory": host_bytes()})])


def of_cluster() -> Capacity:
    """The Ray that this process is connected to."""
    types = _node_types()
    return Capacity(_nodes(), None if types is None else [Place(f"a node of type {n}", types[n]) for n in types])


def _nodes() -> list[Place]:
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return [Place(f"node {node['NodeManagerAddress']}", node["Resources"], node["NodeID"]) for node in alive]


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
