"""How much memory of its device a trial needs: weights, and the most that one of its steps or criteria adds.

What each adds it says itself; a peak that was measured before takes its place. The copy of the
untouched model lies in host memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rayci.criterion import Criterion
from rayci.forecast.stage_times import timed_name
from rayci.forecast.stated import states
from rayci.intervention import Intervention
from rayci.planning.chain import Link
from rayci.workload import Workload


class Memory:
    """Bytes on one model, weights included; of several GPUs, those of the fullest."""

    def __init__(self, work: Workload, peaks: Mapping[str, int] | None = None) -> None:
        """`peaks` holds measured bytes by method and by criterion."""
        self._work, self._peaks = work, peaks or {}
        self._steps: dict[str, int] = {}

    def on(self, gpus: int) -> Memory:
        """The same where the model is spread over so many GPUs; what was measured on one tells nothing then."""
        return self if gpus == self._work.gpus else Memory(replace(self._work, gpus=gpus))

    def step(self, link: Link) -> int:
        """Of applying a step; putting a mask or grid back takes no more than the weights."""
        text = str(link)
        if text not in self._steps:
            method, again = link.intervention, link.recompression
            needed = self._work.fullest_bytes + (0 if again == "reproject" else method.memory(self._work))
            self._steps[text] = self._peaks.get(timed_name(method.name, again), needed)
        return self._steps[text]

    def reading(self, criterion: Criterion) -> int:
        """Of measuring a criterion."""
        return self._peaks.get(criterion.name, self._work.fullest_bytes + criterion.memory(self._work))

    def assumed(self, method: Intervention | Criterion) -> bool:
        """Whether nobody has said or measured what a method takes."""
        return method.name not in self._peaks and not states(method, "memory")

    def most(self, links: Iterable[Link], criteria: Iterable[Criterion]) -> int:
        """Of a trial of these steps and criteria."""
        return max([self._work.fullest_bytes, *map(self.step, links), *map(self.reading, criteria)])
