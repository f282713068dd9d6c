"""The published grid played on GPUs that are only declared: `python -m tests.trials.played_grid ADDRESS GPUS SECONDS`.

A process for each of 256 trials does not fit on one machine. Here the driver's side is real (plan, search, lifetimes of
stages, reservations as placement groups in Ray), and the end of a stage is a moment at which the driver is told of it.
"""

from __future__ import annotations

import heapq
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from rayci.forecast.estimator import Estimator
from rayci.forecast.stage_times import known_times
from rayci.planning import spec as specs
from rayci.planning.plan import Names, Plan, Planner, Stage
from rayci.planning.resources import Resources
from rayci.planning.schedule import Schedule, Seconds
from rayci.trials.assignment import trial_config
from rayci.trials.cluster import connected
from rayci.trials.experiments import EXPERIMENT
from rayci.trials.knobs import Knobs
from rayci.trials.reservations import Reservations
from rayci.trials.search import PrefixSearcher
from tests.simulation import lower_bound
from tests.simulation import makespan as simulated

PUBLISHED = Path(__file__).parents[2] / "trials" / "specs" / "published_llama3_8b.yaml"
PENDING = 16
"""Trials that wait for their placement at a time."""


@dataclass
class Played:
    """A driver whose trials are placed by Ray and last as long as they are said to."""

    plan: Plan
    searcher: PrefixSearcher
    seconds: Seconds
    waiting: dict[str, PlacementGroup] = field(default_factory=dict)
    running: dict[str, PlacementGroup] = field(default_factory=dict)
    ends: list[tuple[float, int, str, str | None]] = field(default_factory=list)
    """When a stage ends, the stage's depth, of which trial, its fingerprint; None: the trial ends."""
    busiest: int = 0

    def play(self) -> float:
        """Until all trials have ended; seconds since the first was handed out."""
        began, count = time.monotonic(), 0
        while True:
            config = self.searcher.suggest(str(count)) if len(self.waiting) < PENDING else None
            if config == "FINISHED" and not self.waiting and not self.running:
                return time.monotonic() - began
            if isinstance(config, dict):
                self.waiting[str(count)] = placement_group([{"GPU": config["resources"]["GPU"]}])
                count += 1
                continue
            for trial in [
                trial for trial, group in self.waiting.items() if placement_group_table(group)["state"] == "CREATED"
            ]:
                self._start(trial)
            self._tell()
            time.sleep(0.01)

    def _start(self, trial: str) -> None:
        self.running[trial] = self.waiting.pop(trial)
        self.busiest = max(self.busiest, len(self.running))
        index, now = self.searcher.running[trial].index, time.monotonic()
        own = self.plan.trials[index].stages[self.searcher.schedule.first(index) :]
        for stage in own:
            now += self.seconds(stage) if stage.depth else 0.0
            heapq.heappush(self.ends, (now, stage.depth, trial, stage.fingerprint))
        heapq.heappush(self.ends, (now, len(self.plan.trials[index].stages), trial, None))

    def _tell(self) -> None:
        while self.ends and self.ends[0][0] <= time.monotonic():
            _, _, trial, stage = heapq.heappop(self.ends)
            if stage is not None:
                self.searcher.on_trial_result(trial, {"stage": stage, "at_hand": True, "complete": True})
            else:
                remove_placement_group(self.running.pop(trial))
                self.searcher.on_trial_complete(trial)


def play(gpus: int, least: float) -> dict[str, float]:
    """Play the grid so that it takes `least` seconds or more on so many GPUs; what was seen."""
    assert ray.cluster_resources()["GPU"] == gpus
    given = specs.load(PUBLISHED)
    planner = Planner(given, Names(given))
    plan = planner.plan()
    estimated = Estimator(planner, known_times(given.model, Path("runs") / given.name)).stage_seconds(plan)
    scale = least / lower_bound(plan, estimated, gpus)

    def seconds(stage: Stage) -> float:
        return scale * estimated(stage)

    reservations = Reservations(0, [1.0] * len(plan.trials), 1)
    schedule, alone = (Schedule(plan, range(len(plan.trials)), seconds=seconds) for _ in range(2))

    def config(index: int) -> dict[str, Any]:
        return trial_config(plan, plan.trials[index], resources=reservations.of(index))

    def fingerprints(index: int) -> list[str]:
        return [stage.fingerprint for stage in plan.trials[index].stages]

    played = Played(plan, PrefixSearcher(schedule, config, fingerprints, reservations, EXPERIMENT), seconds)
    makespan, peak = played.play(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    foreseen = simulated(plan, alone, seconds, gpus)
    return {
        "trials": len(plan.trials),
        "seconds": makespan,
        "foreseen": foreseen,
        "busiest": played.busiest,
        "peak": peak,
    }


if __name__ == "__main__":
    address, gpus, least = sys.argv[1:]
    with connected(Knobs(address=address), Resources(), workers=1):
        print(json.dumps(play(int(gpus), float(least))))
