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
        self._elsewhere: dict[tuple[int, float], Memory] = {}

    def on(self, gpus: int, gpu_memory: float) -> Memory:
        """The same where the model is spread over so many GPUs of this size; what one held tells nothing of several."""
        if (gpus, gpu_memory) not in self._elsewhere:
            work = replace(self._work, gpus=gpus, device_memory=gpu_memory)
            self._elsewhere[gpus, gpu_memory] = Memory(work, self._peaks if gpus == 1 else None)
        return self._elsewhere[gpus, gpu_memory]

    def host(self, links: Iterable[Link]) -> int:
        """Bytes of host memory that a trial of these steps takes beside a GPU, with the copy of the untouched model.

        Putting a mask or grid back takes none.
        """
        applied = (link.intervention for link in links if link.recompression != "reproject")
        return self._work.weight_bytes + max((method.host_memory(self._work) for method in applied), default=0)

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
