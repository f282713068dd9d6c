"""What becomes of a trial whose worker dies, without Ray."""

from __future__ import annotations

from typing import Any

import pytest

from rayci.errors import RayciError, RequestError
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
        "criteria": ["hazard"],
    }
)


def searcher_of(hooks: Hooks, gpus: float = 0.0, gpu_limit: float | None = None) -> PrefixSearcher:
    plan = make(SPEC)
    return PrefixSearcher(
        Schedule(plan, range(len(plan.trials))),
        lambda index: {"index": index},
        lambda index: [stage.fingerprint for stage in plan.trials[index].stages],
        Reservations(1, [gpus] * len(plan.trials), 1),
        100,
        hooks,
        gpu_limit=gpu_limit,
    )


@pytest.mark.parametrize("with_its_node", [False, True])
def test_a_trial_that_died_with_its_node_is_run_again(with_its_node: bool) -> None:
    lost: list[str] = []
    gone = [0]
    searcher = searcher_of(Hooks(lost=lambda stage, traceback: lost.append(stage), nodes_lost=lambda: gone[0]))
    first = searcher.suggest("a")
    gone[0] += with_its_node
    searcher.on_trial_complete("a", error=True)
    again = searcher.suggest("b")
    assert (again == first) is with_its_node
    assert bool(lost) is not with_its_node
    searcher.on_trial_complete("b", error=True)
    assert len(lost) == (1 if with_its_node else 2), "one lost node excuses one death"


def test_no_more_gpus_are_out_than_the_sweep_may_take() -> None:
    plan = make(SPEC)
    untouched = {"stage": plan.trials[0].stages[0].fingerprint, "at_hand": True, "complete": True}
    searcher = searcher_of(Hooks(), gpus=0.1, gpu_limit=0.3)
    out = {"a": searcher.suggest("a")}
    searcher.on_trial_result("a", untouched)  # the others waited for it
    out |= {name: searcher.suggest(name) for name in "bc"}
    assert all(isinstance(config, dict) for config in out.values()), "as many as there is room for"
    assert searcher.suggest("d") is None
    searcher.on_trial_complete("a", {"out_of_memory": "it comes back with 0.125"})
    assert searcher.suggest("d") is None, "beside twice 0.1"
    for name in "bc":
        searcher.on_trial_complete(name, untouched)
    again = [searcher.suggest("d"), searcher.suggest("e")]
    assert out["a"] in again and searcher.suggest("f") is None, "0.125 + 0.1"


def told(fault: str, worker: int, *, starting: bool = True, refused: bool = False) -> dict[str, Any]:
    """What a worker reports before it ends."""
    return {
        "fault": fault,
        "traceback": f"Traceback of {worker}",
        "starting": starting,
        "refused": refused,
        "host": "here",
        "worker": worker,
    }


@pytest.mark.parametrize(("refused", "kind"), [(True, RequestError), (False, RayciError)])
def test_the_same_error_of_two_workers_that_start_stops_the_sweep(refused: bool, kind: type[RayciError]) -> None:
    stopped: list[str] = []
    searcher = searcher_of(Hooks(lost=lambda *_: pytest.fail("nothing is a row"), stopped=stopped.append))
    searcher.suggest("a")
    searcher.on_trial_result("a", told("no tokenizer", 1, refused=refused))
    searcher.on_trial_result("a", told("no tokenizer", 1, refused=refused))  # the same worker says nothing new
    searcher.on_trial_result("a", told("another", 2, refused=refused))
    assert searcher.stopped is None
    searcher.on_trial_result("a", told("no tokenizer", 3, refused=refused))
    assert type(searcher.stopped) is kind and "no trial can start: no tokenizer" in str(searcher.stopped)
    assert stopped == ["Traceback of 3"]
    assert searcher.suggest("b") == "FINISHED"
    searcher.on_trial_complete("a", error=True)


def test_a_trial_that_never_started_stops_the_sweep() -> None:
    stopped: list[str] = []
    searcher = searcher_of(Hooks(lost=lambda *_: pytest.fail("nothing is a row"), stopped=stopped.append))
    searcher.suggest("a")
    for worker in range(3):
        searcher.on_trial_result("a", told(f"error {worker}", worker))
    searcher.on_trial_complete("a", error=True)
    assert "error 2" in str(searcher.stopped) and len(stopped) == 1


def test_what_a_worker_said_in_a_stage_is_kept_with_the_stage() -> None:
    lost: list[tuple[str, str | None]] = []
    searcher = searcher_of(Hooks(lost=lambda stage, traceback: lost.append((stage, traceback))))
    searcher.suggest("a")
    for worker in range(3):
        searcher.on_trial_result("a", told("a fault", worker, starting=False))
    searcher.on_trial_complete("a", error=True)
    assert searcher.stopped is None and [traceback for _, traceback in lost] == ["Traceback of 2"]
