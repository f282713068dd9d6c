"""The order in which trials start: nothing twice, nobody too early, the longest work first."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayci.planning import plan, spec
from rayci.planning.plan import Plan, Stage
from rayci.planning.schedule import Schedule, at_hand
from rayci.planning.spec import Spec
from tests.simulation import lower_bound, makespan

PUBLISHED = Path(__file__).parents[2] / "trials" / "specs" / "published_llama3_8b.yaml"


def make(*texts: str, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "name": "t",
        "interventions": {"ft": {}},
        "compose": {"singles": False, "pairs": "none", "also": list(texts)},
        "criteria": ["utility"],
        "recompress": "never",
    }
    return plan.make(Spec.model_validate({**values, **changes}))


def names(made: Plan, schedule: Schedule) -> list[str]:
    """Compositions that may start now, in their order."""
    found = []
    while (index := schedule.next()) is not None:
        found.append(made.trials[index].composition)
    return found


def index(made: Plan, text: str) -> int:
    return next(i for i, trial in enumerate(made.trials) if trial.composition == text)


def mark(made: Plan, chain: str) -> str:
    return next(stage.fingerprint for stage in made.stages.values() if stage.chain == chain)


def test_siblings_wait_for_their_prefix() -> None:
    made = make("ft > rtn@4", "ft > wanda@0.5", "ft", "gd > ft")
    schedule = Schedule(made, range(4))
    assert names(made, schedule) == ["ft > rtn@4"]  # all others need the untouched model first
    schedule.release(mark(made, ""))
    assert names(made, schedule) == ["gd > ft"]
    assert schedule.waiting == 2 and not schedule.empty
    schedule.release(mark(made, "ft"))
    assert names(made, schedule) == ["ft > wanda@0.5", "ft"]
    assert schedule.empty


def test_of_trials_that_build_the_same_object_one_goes_first() -> None:
    made = make("rtn@4 > memit", "memit", replicates=3)
    untouched, compressed = mark(made, ""), mark(made, "rtn@4")
    schedule = Schedule(made, range(6))
    (first,) = ready(schedule)
    assert made.trials[first].composition == "rtn@4 > memit"
    schedule.release(untouched)
    (edit,) = ready(schedule)
    assert made.trials[edit].composition == "memit", "its siblings need what it builds from the untouched model"
    schedule.release(compressed)
    assert not ready(schedule), "the first one is still at the covariances of the compressed model"
    schedule.release(made.trials[first].stages[2].fingerprint)
    assert [made.trials[index].stages[1].fingerprint for index in ready(schedule)] == [compressed] * 2
    assert schedule.keeps(compressed) and not schedule.keeps(made.trials[first].stages[2].fingerprint)
    schedule.end(edit)  # it failed, or its worker died: whoever comes next builds
    assert len(ready(schedule)) == 2 and schedule.empty


def test_an_object_that_an_earlier_run_left_is_waited_for_by_nobody() -> None:
    made = make("memit", replicates=3)
    done = {made.trials[0].stages[0].fingerprint, made.trials[0].stages[1].fingerprint}
    assert len(ready(Schedule(made, [1, 2], done))) == 2
    assert len(ready(Schedule(made, range(3), sharing=False))) == 3


def ready(schedule: Schedule) -> list[int]:
    """Trials that may start now, by index."""
    return list(iter(schedule.next, None))


def test_only_what_another_trial_goes_on_from_is_kept() -> None:
    made = make("ft > rtn@4 > gd", "ft > rtn@4 > wanda@0.5", "gd")
    schedule = Schedule(made, range(3))
    assert schedule.keeps(mark(made, "ft > rtn@4"))
    assert not schedule.keeps(mark(made, "ft"))  # on the way to it, and nobody's last common stage
    alone = make("ft > rtn@4", "ft")
    assert not Schedule(alone, range(2)).keeps(mark(alone, "ft"))  # measured on the way; `ft` has no more to do


def test_a_trial_that_is_given_up_holds_nobody() -> None:
    made = make("ft > rtn@4", "ft > wanda@0.5")
    schedule = Schedule(made, range(2))
    first = schedule.next()
    assert first is not None and schedule.next() is None
    schedule.end(first)
    assert names(made, schedule) == ["ft > wanda@0.5"]


def test_out_of_memory_starts_again() -> None:
    made = make("ft > rtn@4", "ft > wanda@0.5")
    schedule = Schedule(made, range(2))
    first = schedule.next()
    assert first is not None
    schedule.again(first)
    assert schedule.waiting == 1
    assert schedule.next() == first


def test_the_longest_way_goes_first() -> None:
    made = make("ft", "rtn@4", "wanda@0.5", "gd > rtn@4", "gd > ft")
    long = {"gd": 1.0, "gd > ft": 5.0, "gd > rtn@4": 5.0, "wanda@0.5": 3.0}
    schedule = Schedule(made, range(5), {mark(made, "")}, seconds=lambda stage: long.get(stage.chain, 0.5))
    assert names(made, schedule) == ["gd > rtn@4", "wanda@0.5", "ft", "rtn@4"]


def test_without_sharing_nobody_waits() -> None:
    made = make("ft > rtn@4", "ft > wanda@0.5", "ft")
    schedule = Schedule(made, range(3), sharing=False)
    assert len(names(made, schedule)) == 3
    assert not any(schedule.keeps(mark) for mark in made.stages)
    assert schedule.first(2) == 0


def test_at_hand_after_an_interruption() -> None:
    made = make("ft > rtn@4", "ft > wanda@0.5", "gd")
    done = {mark(made, chain) for chain in ("", "ft", "ft > rtn@4", "gd")}
    todo = [index(made, "ft > wanda@0.5")]
    assert at_hand(made, todo, done, lambda _: True) == done
    # Rows are there, weights are not, and a trial goes on from them: somebody has to build them again.
    lost = at_hand(made, todo, done, lambda _: False)
    assert lost == done - {mark(made, "ft")}
    assert Schedule(made, todo, lost).first(todo[0]) == 0
    # Nobody goes on from `gd`: its freed weights are not missed.
    assert mark(made, "gd") in lost


@given(seed=st.integers(0, 10_000), nodes=st.integers(1, 9), spread=st.floats(0, 2))
@settings(max_examples=60, deadline=None)
def test_rules_hold_whatever_the_times(seed: int, nodes: int, spread: float) -> None:
    rng = random.Random(seed)
    steps = ["ft", "gd", "rtn@4", "rtn@3", "wanda@0.5"]
    texts = {" > ".join(rng.sample(steps, rng.randint(1, 4))) for _ in range(rng.randint(1, 30))}
    made = make(*sorted(texts), recompress=rng.choice(["never", "refit"]), replicates=rng.randint(1, 2))
    times = {stage: rng.lognormvariate(0, spread) for stage in made.stages}

    def seconds(stage: Stage) -> float:
        return times[stage.fingerprint]

    schedule = Schedule(made, range(len(made.trials)), seconds=seconds)
    assert (
        makespan(made, schedule, seconds, nodes)
        >= lower_bound(made, seconds, nodes) - times[made.trials[0].stages[0].fingerprint] - 1e-9
    )


@pytest.mark.parametrize(("replicates", "nodes", "most"), [(1, 16, 1.1), (10, 16, 1.05), (10, 256, 1.05)])
def test_the_published_grid(replicates: int, nodes: int, most: float) -> None:
    made = plan.make(spec.load(PUBLISHED).model_copy(update={"replicates": replicates}))
    rng = random.Random(replicates)
    times = {stage: rng.lognormvariate(0, 0.8) for stage in made.stages}

    def seconds(stage: Stage) -> float:
        return times[stage.fingerprint]

    schedule = Schedule(made, range(len(made.trials)), seconds=seconds)
    assert makespan(made, schedule, seconds, nodes) <= most * lower_bound(made, seconds, nodes)


def test_what_a_spec_names_first_starts_first_with_what_it_waits_for() -> None:
    texts = ("ft > rtn@4", "ft > wanda@0.5", "gd > rtn@4", "gd > rtn@8", "wanda@0.5")
    compose = {"singles": False, "pairs": "none", "also": list(texts), "first": ["wanda", "gd > rtn"]}
    made = make(compose=compose)
    assert [trial.composition for trial in made.trials] == [trial.composition for trial in make(*texts).trials]
    schedule = Schedule(made, range(5), {mark(made, "")}, seconds=lambda stage: 9.0 if "ft" in stage.chain else 1.0)
    assert names(made, schedule) == ["wanda@0.5", "gd > rtn@4", "ft > rtn@4"]
    schedule = Schedule(make(*texts[:2], compose={**compose, "also": texts[:2], "first": ["ft > wanda"]}), range(2))
    assert schedule.next() == 0, "the trial that it waits for is as urgent"


def test_who_is_held_back_holds_back_those_who_wait_for_it() -> None:
    made = make("ft > rtn@4", "ft > wanda@0.5", "ft > wanda@0.5 > gd", "rtn@4")
    schedule = Schedule(made, range(4), {mark(made, "")})
    builder = index(made, "ft > wanda@0.5 > gd")
    assert schedule.next(lambda trial: trial != builder) == index(made, "rtn@4")
    assert schedule.next() is None and schedule.empty
    assert sorted(schedule.held_back) == sorted(set(range(4)) - {index(made, "rtn@4")})
