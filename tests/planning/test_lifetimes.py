"""Which stored stages nobody will continue from any more."""

from __future__ import annotations

import random

import pytest

from rayci.planning.lifetimes import Lifetimes
from rayci.planning.plan import Plan, make
from rayci.planning.spec import Spec

SPEC = Spec.model_validate(
    {
        "name": "t",
        "interventions": {"ft": {}, "gd": {}, "wanda": {"sparsity": {"sweep": [0.3, 0.6]}}, "rtn": {"bits": 4}},
        "compose": {"triples": "across_kinds"},
        "criteria": ["hazard"],
        "replicates": 2,
    }
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make(SPEC)


def users(plan: Plan, left: set[int], done: frozenset[str] = frozenset()) -> set[str]:
    """Stages that a trial which is left goes on from, counted anew."""
    return {
        stage.fingerprint
        for index in left
        for depth, stage in enumerate(plan.trials[index].stages)
        if any(later.fingerprint not in done for later in plan.trials[index].stages[depth + 1 :])
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_stage_is_freed_with_the_last_trial_that_goes_on_from_it(plan: Plan, seed: int) -> None:
    left = set(range(len(plan.trials)))
    lifetimes = Lifetimes(plan, left)
    needed = users(plan, left)
    order = sorted(left)
    random.Random(seed).shuffle(order)
    freed: list[str] = []
    for index in order:
        left.remove(index)
        now = lifetimes.end(index)
        assert set(now) == needed - users(plan, left)
        assert lifetimes.end(index) == [], "a trial ends once"
        needed = users(plan, left)
        freed += now
    assert len(freed) == len(set(freed)) > 10 and set(freed) >= plan.shared


def test_leftovers_of_a_killed_run(plan: Plan) -> None:
    stored = set(plan.stages) | {"of another plan"}
    half = set(range(0, len(plan.trials), 2))
    assert Lifetimes(plan, half).unneeded(stored) == stored - users(plan, half)
    assert Lifetimes(plan, ()).unneeded(stored) == stored


def test_nobody_goes_on_from_a_stage_whose_successors_are_done(plan: Plan) -> None:
    trial = plan.trials[0]
    assert len(trial.stages) >= 4
    done = frozenset(stage.fingerprint for stage in trial.stages[:-1])
    assert Lifetimes(plan, [0], done).unneeded(plan.stages) == set(plan.stages) - users(plan, {0}, done)
    assert trial.stages[-2].fingerprint not in Lifetimes(plan, [0], done).unneeded(plan.stages)
    everything = frozenset(plan.stages)
    assert Lifetimes(plan, [0], everything).unneeded(plan.stages) == set(plan.stages)
    last = {trial.stages[-2].fingerprint}
    assert Lifetimes(plan, [0], done - last).unneeded(plan.stages) == set(plan.stages) - users(plan, {0}, done - last)


def test_a_trial_costs_its_length_not_the_plans() -> None:
    large = make(SPEC.model_copy(update={"replicates": 200}))
    lifetimes = Lifetimes(large, range(len(large.trials)))
    assert len(large.trials) > 5000
    assert sum(len(lifetimes.end(index)) for index in range(len(large.trials))) == len(
        users(large, set(range(len(large.trials))))
    )
