"""Seconds of steps and measurements: measured ones first, else from the operations that a method says it takes.

Operations run at a share of the device's peak that is stated here: an estimate, within a factor of a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayci.criterion import Criterion
from rayci.forecast.stage_times import GPU, Times, timed_name
from rayci.forecast.stated import states
from rayci.intervention import Intervention
from rayci.planning.chain import Link
from rayci.workload import Workload

_RATES = {GPU: 312e12 * 0.4, "cpu": 2e10}
"""Operations a second: 40 % of an A100's bf16 peak; one CPU core's fp32 products as torch makes them."""


@dataclass(frozen=True)
class Duration:
    """How long a step or a measurement takes."""

    seconds: float
    source: str
    """Where the figure comes from, in words."""


@dataclass(frozen=True)
class Clock:
    """Durations on one model and one kind of device."""

    times: Sequence[Times]
    """Measured ones, the most trusted first."""
    work: Workload
    threads: int
    """CPU cores of a trial."""
    gpu: bool
    """Whether trials run on a GPU."""

    def step(self, link: Link) -> Duration:
        """Of applying a step; putting a mask or grid back counts nothing where nobody has measured it."""
        name = timed_name(link.intervention.name, link.recompression)
        for times in self.times:
            if name in times.steps:
                return Duration(times.steps[name], times.source)
        if link.recompression == "reproject":
            return Duration(0.0, self._estimated)
        return self._told(link.intervention)

    def reading(self, criterion: Criterion) -> Duration:
        """Of one measurement."""
        for times in self.times:
            if criterion.name in times.readings:
                return Duration(times.readings[criterion.name], times.source)
        return self._told(criterion)

    def _told(self, method: Intervention | Criterion) -> Duration:
        assumed = "" if states(method, "operations") else "assumed, they state no operations: once over their data, "
        return Duration(method.operations(self.work) / self._rate, assumed + self._estimated)

    @property
    def _rate(self) -> float:
        return _RATES[GPU] if self.gpu else _RATES["cpu"] * self.threads

    @property
    def _estimated(self) -> str:
        return f"estimated from operations at {self._rate / 1e12:.3g} TFLOP/s" + (f" ({GPU})" if self.gpu else "")
