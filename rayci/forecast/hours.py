"""Time of a plan: of every stage, and of every method and criterion over all stages that are computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from rayci.forecast.clock import Clock
from rayci.forecast.stage_times import timed_name
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner, Stage
from rayci.units import HOUR


class Hours:
    """Every stage is computed once, by the first trial that holds it and on its share of a GPU."""

    def __init__(self, planner: Planner, clock: Clock, gpus: Callable[[str], float]) -> None:
        """`gpus`: GPUs that a trial reserves, by its composition."""
        self._planner, self._clock, self._gpus = planner, clock, gpus
        self._steps: dict[tuple[str, float], float] = {}
        self._readings: dict[float, tuple[float, float]] = {}

    def of_stages(self, plan: Plan) -> Callable[[Stage], float]:
        """Seconds to apply and measure each stage of the plan."""
        seconds = {}
        for stage, link, share in self._made(plan):
            once, per_batch = self._reading(share)
            seconds[stage.fingerprint] = self._step(link, share) + once + self._batches(stage) * per_batch
        return lambda stage: seconds[stage.fingerprint]

    def by_kind(self, plan: Plan, *, gpus: bool) -> dict[str, float]:
        """GPU-hours, or CPU-hours, of every method and criterion, the most first; both as trials reserve them."""
        steps = Counter[tuple[str, float]]()
        links: dict[str, Link] = {}
        counted = Counter[tuple[float, bool]]()
        for stage, link, share in self._made(plan):
            counted[share, False] += 1
            counted[share, True] += self._batches(stage)
            if link is not None:
                links[str(link)] = link
                steps[str(link), share] += 1
        reserved = self._planner.spec.resources.cpus
        taken = defaultdict[str, float](float)
        for (text, share), count in steps.items():
            link = links[text]
            name = timed_name(link.intervention.name, link.recompression)
            taken[name] += count * self._step(link, share) * (share if gpus else reserved) / HOUR
        for (share, batched), count in counted.items():
            for criterion in self._planner.spec.measured():
                if criterion.per_edit_batch is batched:
                    seconds = self._clock.reading(criterion, share).seconds
                    taken[criterion.name] += count * seconds * (share if gpus else reserved) / HOUR
        return dict(sorted(taken.items(), key=lambda each: -each[1]))

    def _made(self, plan: Plan) -> Iterator[tuple[Stage, Link | None, float]]:
        """Every stage once, its last step, and the GPUs of the trial that computes it."""
        made = set[str]()
        for trial in plan.trials:
            share, links = self._gpus(trial.composition), self._planner.chain(trial.composition)
            for stage in trial.stages:
                if stage.fingerprint not in made:
                    made.add(stage.fingerprint)
                    yield stage, links[stage.depth - 1] if stage.depth else None, share

    def _step(self, link: Link | None, share: float) -> float:
        if link is None:
            return 0.0
        key = str(link), share
        if key not in self._steps:
            self._steps[key] = self._clock.step(link, share).seconds
        return self._steps[key]

    def _reading(self, share: float) -> tuple[float, float]:
        """Seconds of the criteria that are measured once a stage, and of those that are for each edit batch."""
        if share not in self._readings:
            criteria = self._planner.spec.measured()
            once, per_batch = (
                sum(self._clock.reading(each, share).seconds for each in criteria if each.per_edit_batch is batched)
                for batched in (False, True)
            )
            self._readings[share] = once, per_batch
        return self._readings[share]

    def _batches(self, stage: Stage) -> int:
        return self._planner.spec.replicates if stage.replicate is None else 1
