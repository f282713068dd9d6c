"""What each trial reserves: CPUs, host memory, and a share of a GPU, larger after it ran out of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rayci.errors import RequestError
from rayci.forecast.estimator import Estimator
from rayci.forecast.share import RESERVE, STEPS
from rayci.planning.plan import Plan

GIB = 2**30
PROCESS = 2 * GIB
"""Host memory of a worker beside its model: Python, torch, CUDA's own, the data sets."""


@dataclass
class Reservations:
    """The reservation of every trial, by its index in the plan."""

    cpus: float
    first: Sequence[float]
    """GPUs of each trial before anything went wrong."""
    most: float
    """GPUs that a trial may grow to."""
    memory: int = 0
    """Bytes of host memory of each trial."""
    _grown: dict[int, float] = field(default_factory=dict)

    def largest(self) -> float:
        """GPUs of the trial that reserves most before anything went wrong."""
        return max(self.first, default=0.0)

    def cap(self, gpus: float) -> None:
        """Let no trial grow beyond what a node has; what is reserved from the start stays."""
        self.most = min(self.most, gpus)

    def gpus(self, index: int) -> float:
        """GPUs that the trial reserves now."""
        return self._grown.get(index, self.first[index])

    def of(self, index: int) -> dict[str, float]:
        """The reservation as Ray names it."""
        own = {"CPU": self.cpus, "GPU": self.gpus(index)}
        return own | {"memory": self.memory} if self.memory else own

    def last(self, index: int) -> bool:
        """Whether the trial cannot get more: without memory it fails for good."""
        gpus = self.gpus(index)
        return gpus == 0 or gpus >= self.most

    def enlarge(self, index: int) -> None:
        """Reserve the next larger share from now on, as far as it may grow."""
        gpus = self.gpus(index)
        self._grown[index] = max(gpus, min(self.most, next((step for step in STEPS if step > gpus), gpus)))


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
        return Reservations(resources.cpus, first, resources.max_gpus or STEPS[-1], memory)
    fixed = [resources.gpus] * len(plan.trials)
    return Reservations(resources.cpus, fixed, resources.max_gpus or max(1.0, resources.gpus), memory)


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
