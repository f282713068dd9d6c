"""Makespan on 16 emulated nodes, as a multiple of what no schedule can beat.

    pytest tests/benchmarks/bench_scheduling.py -m bench --capture=no

No clock and no Ray: the schedule is played with stage durations that are lognormal (σ = 0.8) around the estimate of
`rayci plan`, once known exactly, once estimated so, once unknown (every stage counts the same). The lower bound is
max(all work / nodes, longest chain), the untouched model counted in every chain, although only one trial measures it:
ratios can lie a little below 1. The named alternative shares stages just as well, but starts what may start in the
plan's order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from rayci.forecast.estimator import Estimator
from rayci.forecast.stage_times import known_times
from rayci.planning import spec
from rayci.planning.plan import Names, Plan, Planner, Stage
from rayci.planning.schedule import Schedule, equally_long
from tests.simulation import lower_bound, makespan

pytestmark = pytest.mark.bench

SPECS = Path(__file__).parents[2] / "trials" / "specs"
NODES, SPREAD, DRAWS = 16, 0.8, 5
Seconds = Callable[[Stage], float]


class PlanOrder(Schedule):
    """The same sharing without priorities: of what may start, the first in the plan."""

    def _place_in_line(self, index: int) -> tuple[int, float, int]:
        return 0, 0.0, index


def drawn(made: Plan, mean: Seconds, seed: int) -> Seconds:
    """Durations around their estimates."""
    rng = random.Random(seed)
    times = {mark: mean(stage) * rng.lognormvariate(-(SPREAD**2) / 2, SPREAD) for mark, stage in made.stages.items()}
    return lambda stage: times[stage.fingerprint]


@pytest.mark.parametrize(("name", "replicates"), [("published", 1), ("published", 10), ("three_way", None)])
def test_makespan_on_16_nodes(name: str, replicates: int | None, tmp_path: Path) -> None:
    given = spec.load(SPECS / f"{'published_llama3_8b' if name == 'published' else name}.yaml")
    given = given.model_copy(update={"replicates": replicates or given.replicates})
    planner = Planner(given, Names(given))
    made = planner.plan()
    mean, trials = Estimator(planner, known_times(given.model, tmp_path)).stage_seconds(made), range(len(made.trials))
    ratios: dict[str, list[float]] = {}
    for seed in range(DRAWS):
        actual = drawn(made, mean, seed)
        bound = lower_bound(made, actual, NODES)
        for known, schedule in {
            "known": Schedule(made, trials, seconds=actual),
            "estimated": Schedule(made, trials, seconds=mean),
            "unknown": Schedule(made, trials, seconds=equally_long),
            "plan order": PlanOrder(made, trials),
        }.items():
            length = makespan(made, schedule, actual, NODES)  # asserts every rule on the way
            ratios.setdefault(known, []).append(length / bound)
    print(f"\n{name}, {given.replicates} replicates, {len(made.trials)} trials, {len(made.stages)} stages:")
    print(f"| makespan on {NODES} nodes / lower bound | mean of {DRAWS} draws | worst |\n|---|---|---|")
    for known, found in ratios.items():
        print(f"| {known} | {sum(found) / DRAWS:.3f} | {max(found):.3f} |")
