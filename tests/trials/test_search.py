"""What becomes of a trial whose worker dies, without Ray."""

from __future__ import annotations

import pytest

from rayci.planning.plan import make
from rayci.planning.schedule import Schedule
from rayci.planning.spec import Spec
from rayci.trials.reservations import Reservations
from rayci.trials.search import Hooks, PrefixSearcher

SPEC = Spec.model_validate(
    {
        "name": "t",
        "interventions": {"ft": {}, "rtn": {"bits": {"sweep": [3, 4]}}},
        "compose": {"orders": "listed"},
        "criteria": ["wmdp"],
    }
)


@pytest.mark.parametrize("with_its_node", [False, True])
def test_a_trial_that_died_with_its_node_is_run_again(with_its_node: bool) -> None:
    plan = make(SPEC)
    lost: list[str] = []
    gone = [0]
    searcher = PrefixSearcher(
        Schedule(plan, range(len(plan.trials))),
        lambda index: {"index": index},
        lambda index: [stage.fingerprint for stage in plan.trials[index].stages],
        Reservations(1, [0] * len(plan.trials), 1),
        100,
        Hooks(lost=lost.append, nodes_lost=lambda: gone[0]),
    )
    first = searcher.suggest("a")
    gone[0] += with_its_node
    searcher.on_trial_complete("a", error=True)
    again = searcher.suggest("b")
    assert (again == first) is with_its_node
    assert bool(lost) is not with_its_node
    searcher.on_trial_complete("b", error=True)
    assert len(lost) == (1 if with_its_node else 2), "one lost node excuses one death"
