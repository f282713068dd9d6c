"""What each trial reserves: CPUs, host memory, and a share of a GPU, larger after it ran out of memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rayci.errors import RequestError
from rayci.forecast.estimator import Estimator
from rayci.forecast.share import STEPS
from rayci.model.step_memory import RESERVE
from rayci.planning.plan import Plan
from rayci.units import GIB

PROCESS = 2 * GIB
"""Host memory of a worker beside its model: Python, torch, CUDA's own, the data sets."""


@dataclass
class Reservations:
    """The reservation of every trial, by its index in the plan."""

    cpus: float
    first: Sequence[float]
    """GPUs of each trial before anything went wrong."""
    most: float = math.inf
    """GPUs that a trial may grow to; without a limit of the spec what a node has, see `cap`."""
    memory: int = 0
    """Bytes of host memory of each trial."""
    _bound: str = "max_gpus allows no more"
    """What `most` comes from."""
    _grown: dict[int, float] = field(default_factory=dict)

    def largest(self) -> float:
        """GPUs of the trial that reserves most before anything went wrong."""
        return max(self.first, default=0.0)

    def cap(self, gpus: float, why: str = "no node has more") -> None:
        """Let no trial grow beyond so many; one that has grown goes back to them, never below what it had first."""
        if gpus < self.most:
            self.most, self._bound = gpus, why

    def gpus(self, index: int) -> float:
        """GPUs that the trial reserves now."""
        return max(self.first[index], min(self._grown.get(index, 0.0), self.most))

    def of(self, index: int) -> dict[str, float]:
        """The reservation as Ray names it."""
        own = {"CPU": self.cpus, "GPU": self.gpus(index)}
        return own | {"memory": self.memory} if self.memory else own

    def no_more(self, index: int) -> str | None:
        """Why the trial cannot get more memory, so that without it it fails for good; None where it can."""
        gpus = self.gpus(index)
        if gpus == 0:
            return "a trial without a GPU gets no more"
        return self._bound if gpus >= self.most else None

    def enlarge(self, index: int) -> None:
        """Reserve the next larger share from now on, as far as it may grow."""
        gpus = self.gpus(index)
        self._grown[index] = min(self.most, next((step for step in STEPS if step > gpus), 2 * gpus))


class _Said(NamedTuple):
    """How a resource of Ray's is called in a spec, and said."""

    key: str
    unit: str
    size: int = 1


SAID = {"CPU": _Said("cpus", "CPU"), "GPU": _Said("gpus", "GPU"), "memory": _Said("memory", "GiB of memory", GIB)}


def amounts(resources: Mapping[str, float], names: Iterable[str] | None = None) -> str:
    """A reservation in words, or what a node has of the resources of these names: `1 CPU, 2 GPU`."""
    names = resources if names is None else names
    return ", ".join(f"{resources.get(name, 0.0) / SAID[name].size:.4g} {SAID[name].unit}" for name in names)


def reservations_of(plan: Plan, estimator: Estimator) -> Reservations:
    """The reservations that a spec asks for; RequestError where what is `auto` cannot be told."""
    resources, memory = plan.spec.resources, _host_memory(plan, estimator)
    if isinstance(resources.gpus, str):
        gpu_memory = _gpu_memory(resources.gpu_memory)
        share: dict[str, float] = {}
        for text in {trial.composition for trial in plan.trials}:
            gpus = estimator.share(text, gpu_memory)
            if gpus is None:
                raise RequestError(
                    f"gpus: auto, but the memory of {text!r} is not known: {'; '.join(estimator.notes)}",
                    at="resources.gpus",
                    allowed="a number of GPUs",
                )
            share[text] = gpus
        first = [share[trial.composition] for trial in plan.trials]
    else:
        first = [resources.gpus] * len(plan.trials)
    return Reservations(resources.cpus, first, resources.max_gpus or math.inf, memory)


def _host_memory(plan: Plan, estimator: Estimator) -> int:
    """Bytes of host memory that every trial reserves: all the same, for Tune reuses a worker for an equal one alone."""
    given = plan.spec.resources.memory
    if not isinstance(given, str):
        return int(given * GIB)
    needed = estimator.host_memory(plan)
    if needed is None:
        raise RequestError(
            f"memory: auto, but what a trial needs is not known: {'; '.join(estimator.notes)}",
            at="resources.memory",
            allowed="a number of GiB",
        )
    return int(RESERVE * needed) + PROCESS


def _gpu_memory(given: float | None) -> float:
    """Bytes of one GPU: what the spec says, or this machine's."""
    import torch

    if given is not None:
        return given * GIB
    if not torch.cuda.is_available():
        raise RequestError(
            "gpus: auto needs to know the memory of a GPU, and this machine has none to ask",
            at="resources.gpu_memory",
            hint="gpu_memory: 80 for an A100 of 80 GB",
        )
    return float(torch.cuda.get_device_properties(0).total_memory)
