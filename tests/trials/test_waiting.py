"""What trials wait for is said, and waiting for what no node will ever have comes to an end."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rayci.planning.plan import make
from rayci.planning.schedule import Schedule
from rayci.planning.spec import Spec
from rayci.trials import capacity, waiting
from rayci.trials.capacity import Capacity, Place
from rayci.trials.reservations import Reservations
from rayci.trials.search import PrefixSearcher
from rayci.trials.waiting import Waiting

SMALL = Place("node 10.0.0.1", {"CPU": 8, "GPU": 1})
LARGE = Place("node 10.0.0.2", {"CPU": 8, "GPU": 4})
A100 = Place("a node of type a100", {"CPU": 96, "GPU": 4})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_EVERY", "LONG", "GRACE"):
        monkeypatch.setattr(waiting, name, -1.0)


@pytest.fixture
def searcher() -> PrefixSearcher:
    spec = {"name": "t", "interventions": {"rtn": {"bits": {"sweep": [3, 4]}}}, "criteria": ["hazard"]}
    plan = make(Spec.model_validate(spec))
    made = PrefixSearcher(
        Schedule(plan, range(2)), lambda index: {}, lambda index: [], Reservations(1, [2, 2], 8), limit=100
    )
    assert made.suggest("a") == {}
    return made


def trial(name: str, status: str, gpus: float = 2) -> Any:
    resources = {"CPU": 1, "GPU": gpus}
    return SimpleNamespace(
        trial_id=name, status=status, PENDING="PENDING", RUNNING="RUNNING", config={"resources": resources}
    )


PENDING = [trial("a", "PENDING"), trial("b", "PENDING")]


def look(
    monkeypatch: pytest.MonkeyPatch,
    searcher: PrefixSearcher,
    nodes: Sequence[Place],
    trials: list[Any],
    types: Sequence[Place] | None = (),
) -> str:
    """What is said of these trials on these nodes."""
    monkeypatch.setattr(capacity, "_nodes", lambda: nodes)
    watch = Waiting(Capacity([SMALL, LARGE], types))
    watch.watch(searcher)
    watch.on_step_end(0, trials)
    return watch.words


def test_whatever_is_waited_for_is_said(monkeypatch: pytest.MonkeyPatch, searcher: PrefixSearcher) -> None:
    told = look(monkeypatch, searcher, [SMALL, LARGE], [*PENDING, trial("c", "RUNNING"), trial("d", "PENDING", 0.5)])
    assert told == (
        "2 trials wait for 1 CPU, 2 GPU: no node has them free; 1 trial waits for 1 CPU, 0.5 GPU: no node has them free"
    )
    assert look(monkeypatch, searcher, [SMALL], PENDING, [A100]).endswith("a node of type a100 is to start")
    assert look(monkeypatch, searcher, [SMALL], PENDING, None).endswith("what the autoscaler can start is not known")
    assert look(monkeypatch, searcher, [SMALL], [trial("a", "RUNNING"), trial("b", "TERMINATED")]) == ""
    assert not searcher.over


def test_nothing_is_taken_back_while_something_can_be_done(
    monkeypatch: pytest.MonkeyPatch, searcher: PrefixSearcher
) -> None:
    for trials in ([*PENDING, trial("c", "RUNNING", 1)], [*PENDING, trial("c", "PENDING", 1)]):
        assert "2 trials wait for 1 CPU, 2 GPU: no node has them any more" in look(
            monkeypatch, searcher, [SMALL], trials
        )
    assert not searcher.over


def test_what_waits_for_a_node_that_has_gone_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, searcher: PrefixSearcher
) -> None:
    assert look(monkeypatch, searcher, [SMALL], PENDING).endswith("no node has them any more")
    assert searcher.over and not searcher.stopped and not searcher.running
    assert searcher.suggest("c") == "FINISHED"
    searcher.on_trial_complete("a")  # Tune stops what was pending, and nothing is held against it
    assert searcher.over


def test_a_node_that_comes_back_in_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, searcher: PrefixSearcher
) -> None:
    monkeypatch.setattr(waiting, "GRACE", 3600.0)
    look(monkeypatch, searcher, [SMALL], PENDING)
    assert not searcher.over
