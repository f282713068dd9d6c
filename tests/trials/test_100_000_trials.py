"""100 000 trials planned, handed out and settled in experiments of 5000, no Ray: memory stays where it was.

pytest -m slow tests/trials/test_100_000_trials.py -s
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import psutil
import pytest

from rayci.planning.lifetimes import Lifetimes
from rayci.planning.plan import Plan
from rayci.planning.schedule import Schedule
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.trials.assignment import trial_config
from rayci.trials.experiments import EXPERIMENT
from rayci.trials.reservations import Reservations
from rayci.trials.run_folder import RunFolder
from rayci.trials.search import Hooks, PrefixSearcher
from rayci.trials.settle import settle

pytestmark = pytest.mark.slow

WORKERS = 64
FLAT = 20e6
"""Bytes that a process may grow by from one experiment to another: lists that double, garbage that waits."""
GRID = [(1 + index) / 28 for index in range(27)]
SPEC = Spec.model_validate(
    {
        "name": "wide",
        "model": "testbed",
        "interventions": {
            method: {setting: {"sweep": GRID}}
            for method, setting in (("ft", "lr"), ("wanda", "sparsity"), ("gd", "alpha"))
        },
        "compose": {"triples": "across_kinds", "pairs": "none", "singles": False},
        "criteria": ["utility"],
    }
)


def memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


class Played:
    """The driver's side of a sweep, with workers that do everything at once."""

    def __init__(self, plan: Plan) -> None:
        self._plan, todo = plan, range(len(plan.trials))
        self.schedule, self._lifetimes = Schedule(plan, todo), Lifetimes(plan, todo)
        self._reservations = Reservations(1, [0.0] * len(plan.trials), 0)
        self.stored: set[str] = set()
        self.most_stored = 0

    def _config(self, index: int) -> dict[str, Any]:
        trial = self._plan.trials[index]
        keep = [self.schedule.keeps(stage.fingerprint) for stage in trial.stages]
        return trial_config(
            self._plan,
            trial,
            first=self.schedule.first(index),
            keep=keep,
            resources=self._reservations.of(index),
            last_try=True,
        )

    def experiment(self) -> int:
        """Hand out trials until none is left or the experiment is full; how many."""
        searcher = PrefixSearcher(
            self.schedule,
            self._config,
            lambda index: [stage.fingerprint for stage in self._plan.trials[index].stages],
            self._reservations,
            EXPERIMENT,
            Hooks(ended=self._end),
            at_once=WORKERS,
        )
        running: dict[str, dict[str, Any]] = {}
        count = 0
        while (config := searcher.suggest(str(count))) != "FINISHED":
            if isinstance(config, dict):
                running[str(count)] = config
                count += 1
                continue
            self._finish(searcher, *running.popitem())
        for trial in list(running.items()):
            self._finish(searcher, *trial)
        return count

    def _finish(self, searcher: PrefixSearcher, trial: str, config: dict[str, Any]) -> None:
        index = searcher.running[trial].index
        stages = self._plan.trials[index].stages
        for stage, keep in list(zip(stages, config["keep"], strict=True))[config["first"] :]:
            if keep and stage.depth:
                self.stored.add(stage.fingerprint)
            done = {"stage": stage.fingerprint, "at_hand": True, "complete": True}
            searcher.on_trial_result(trial, done)
        self.most_stored = max(self.most_stored, len(self.stored))
        searcher.on_trial_complete(trial, done)

    def _end(self, index: int) -> None:
        self.stored -= set(self._lifetimes.end(index))


def test_memory_is_flat_between_experiments(tmp_path: Path) -> None:
    sweep = Sweep.open(SPEC)
    plan = sweep.planner.plan()
    assert len(plan.trials) == 6 * len(GRID) ** 3 > 100_000
    played, held, handed_out = Played(plan), list[int](), 0
    while not played.schedule.empty:
        handed_out += played.experiment()
        held.append(memory())
    assert handed_out == len(plan.trials)
    assert not played.stored, "what nobody needs any more is freed"
    print(f"\n{len(held)} experiments, {held[0] / 1e6:.0f} MB after the first, {held[-1] / 1e6:.0f} MB after the last,")
    print(f"{played.most_stored} of {len(plan.stages)} stages stored at a time")
    assert max(held[1:]) < held[1] + FLAT
    folder = RunFolder(tmp_path / "run")
    assert settle(sweep, plan, folder, set()) == set()
