"""Seconds of steps and measurements: measured ones first, else from what a method says that it takes.

    seconds = (Σ operations / rate + bytes moved / bandwidth) / share + calls of blocks · seconds of a block's calls

Rates are those that a probe has measured, of the precision in which each product runs. A GPU that trials share is
sliced in time, so that what keeps it busy takes 1/share as long; while calls are made it serves the others.
What ships measured with the testbed's presets is brought to this machine, these settings and data by what is told
of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayci.criterion import Criterion
from rayci.effort import Effort
from rayci.forecast.rates import Rates
from rayci.forecast.reference import as_measured, reference_work
from rayci.forecast.stage_times import Times, timed_name
from rayci.forecast.stated import states
from rayci.intervention import Intervention
from rayci.planning.chain import Link
from rayci.workload import Workload


@dataclass(frozen=True)
class Duration:
    """How long a step or a measurement takes."""

    seconds: float
    source: str
    """Where the figure comes from, in words."""


def seconds_of(effort: Effort, rates: Rates, element: int, threads: int = 1, share: float = 1.0) -> float:
    """Seconds of so much work, of a model whose weights take `element` bytes each.

    `threads`: CPU cores of a trial, all of which make products; `share`: GPUs of a trial.
    """
    loaded = rates.fp32 if element == 4 else rates.bf16
    products = effort.loaded / loaded + effort.fp32 / rates.fp32 + effort.fp64 / rates.fp64
    busy = products + effort.moved / rates.moved
    if rates.kind == "cpu":
        return busy / threads + effort.blocks * rates.block_seconds
    return busy / min(share, 1.0) + effort.blocks * rates.block_seconds


@dataclass(frozen=True)
class Clock:
    """Durations on one model and one kind of device."""

    times: Sequence[Times]
    """Measured ones, the most trusted first."""
    work: Workload
    threads: int
    """CPU cores of a trial."""
    rates: Rates
    """The device that trials run on."""
    known: str
    """Where the rates come from, in words."""

    def step(self, link: Link, share: float = 1.0) -> Duration:
        """Of applying a step; putting a mask or grid back counts nothing where nobody has measured it."""
        name = timed_name(link.intervention.name, link.recompression)
        if link.recompression == "reproject" and not any(name in times.steps for times in self.times):
            return Duration(0.0, self._estimated)
        return self._of(name, link.intervention, share)

    def reading(self, criterion: Criterion, share: float = 1.0) -> Duration:
        """Of one measurement."""
        return self._of(criterion.name, criterion, share)

    def _of(self, name: str, method: Intervention | Criterion, share: float) -> Duration:
        seconds = self._stated_seconds(method, self.work, share)
        for times in self.times:
            measured = (times.readings if isinstance(method, Criterion) else times.steps).get(name)
            if measured is not None and times.rates is None:
                return Duration(measured, times.source)
            if measured is not None and times.rates is not None:
                there = seconds_of(_stated(as_measured(method), reference_work()), times.rates, 4)
                return Duration(seconds * measured / there, f"{times.source}, brought to {self.known}")
        assumed = "" if states(method, "operations") else "assumed, they state no operations: once over their data, "
        return Duration(seconds, assumed + self._estimated)

    def _stated_seconds(self, method: Intervention | Criterion, work: Workload, share: float) -> float:
        return seconds_of(_stated(method, work), self.rates, work.element, self.threads, share)

    @property
    def _estimated(self) -> str:
        return f"estimated from operations on {self.known}"


def _stated(method: Intervention | Criterion, work: Workload) -> Effort:
    return Effort.of(method.operations(work))
