"""Short trials: every worker comes up, and a trial that waits is not left behind."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from rayci.forecast.host import host_bytes
from rayci.planning.plan import make
from rayci.planning.resources import Resources
from rayci.planning.schedule import Schedule
from rayci.planning.spec import Spec
from rayci.trials import free_workers
from rayci.trials.cluster import NAMESPACE, QUIET, connected
from rayci.trials.free_workers import FreeWorkers
from rayci.trials.knobs import Knobs
from rayci.trials.process import put_back
from rayci.trials.progress import Silent
from rayci.trials.reservations import Reservations
from rayci.trials.search import PrefixSearcher

TRIALS = 80
SPEC = Spec.model_validate(
    {
        "name": "t",
        "interventions": {"wanda": {"sparsity": {"sweep": [i / 100 for i in range(TRIALS)]}}},
        "criteria": ["hazard"],
    }
)


def short() -> type[tune.Trainable]:
    """A trial that is over long before a worker could start; made here, where workers need not import it."""

    class Short(tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            time.sleep(0.1)
            return {"done": True, "stage": "", "at_hand": False, "complete": False, "worker": os.getpid()}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    return Short


class Seen(tune.Callback):  # type: ignore[misc]
    """The worker of every trial, in the order of their ends."""

    workers: list[int] = []  # noqa: RUF012

    def on_trial_complete(self, trial: Any, **info: Any) -> None:
        self.workers.append(trial.last_result["worker"])


def searcher(at_once: int | None) -> PrefixSearcher:
    plan = make(SPEC)
    return PrefixSearcher(
        Schedule(plan, range(TRIALS), sharing=False),
        lambda index: {"index": index},
        lambda index: [],
        Reservations(1, [0] * 100, 1),
        TRIALS,
        at_once=at_once,
    )


def test_both_workers_come_up(tmp_path: Path) -> None:
    Seen.workers.clear()
    before = {name: os.environ.get(name) for name in QUIET}
    with put_back(), connected(Knobs(), Resources(), workers=2):
        assert ray.get_runtime_context().namespace == NAMESPACE
        assert ray.cluster_resources()["memory"] == host_bytes()
        tune.Tuner(
            tune.with_resources(short(), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=searcher(2), scheduler=FreeWorkers(), num_samples=TRIALS, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=str(tmp_path),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Seen()],
                progress_reporter=Silent(),
                verbose=0,
            ),
        ).fit()
    assert len(Seen.workers) == TRIALS
    assert {name: os.environ.get(name) for name in QUIET} == before, "a later Tuner is not ours to silence"
    shares = Counter(Seen.workers)
    assert len(shares) == 2
    assert min(shares.values()) >= TRIALS // 5, shares


def test_no_more_trials_are_out_than_there_are_workers() -> None:
    search = searcher(2)
    assert search.suggest("a") is not None and search.suggest("b") is not None
    assert search.suggest("c") is None
    search.on_trial_complete("a", {"done": True, "stage": "", "at_hand": False, "complete": True})
    assert search.suggest("c") is not None
    assert all(searcher(None).suggest(str(index)) is not None for index in range(10))


@dataclass(eq=False)
class Waiting:
    PENDING = "PENDING"
    status: str = "PENDING"


def test_the_oldest_gets_a_free_worker_when_it_has_waited_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(free_workers.time, "monotonic", lambda: now[0])
    scheduler, first, second = FreeWorkers(), Waiting(), Waiting()
    scheduler.on_trial_add(None, first)
    now[0] = 6.0
    scheduler.on_trial_add(None, second)
    assert scheduler.choose_trial_to_run(None) is None
    now[0] = 11.0
    assert scheduler.choose_trial_to_run(None) is first
    assert scheduler.choose_trial_to_run(None) is first, "Tune may ask twice"
    first.status = "RUNNING"
    assert scheduler.choose_trial_to_run(None) is None
    now[0] = 17.0
    assert scheduler.choose_trial_to_run(None) is second
    first.status = "PENDING"  # its worker died
    scheduler.on_trial_add(None, first)
    second.status = "TERMINATED"
    assert scheduler.choose_trial_to_run(None) is None
    now[0] = 28.0
    assert scheduler.choose_trial_to_run(None) is first
