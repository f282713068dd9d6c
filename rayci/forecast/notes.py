"""What is said beside the figures of a plan: where each comes from, which are assumed, why one is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rayci.criterion import Criterion
from rayci.forecast.clock import Clock
from rayci.forecast.memory import Memory
from rayci.intervention import Intervention
from rayci.planning.chain import Link
from rayci.planning.resources import Resources


def notes(
    links: Sequence[Link], criteria: Sequence[Criterion], clock: Clock, memory: Memory, resources: Resources
) -> Iterator[str]:
    """All that is to be said of these steps and criteria."""
    durations = [(link.intervention.name, clock.step(link)) for link in links]
    durations += [(criterion.name, clock.reading(criterion)) for criterion in criteria]
    names_by_source: dict[str, dict[str, None]] = {}
    for name, duration in durations:
        names_by_source.setdefault(duration.source, {})[name] = None
    for source, names in names_by_source.items():
        yield f"times of {', '.join(names)}: {source}"
    methods: Iterable[Intervention | Criterion] = [*(link.intervention for link in links), *criteria]
    silent = dict.fromkeys(method.name for method in methods if memory.assumed(method))
    if silent:
        yield f"memory of {', '.join(silent)}: assumed, they state none"
    if resources.gpus == "auto" and resources.gpu_memory is None:
        yield "gpus: auto without gpu_memory is counted as one GPU a trial"
