"""A Searcher that hands out trials in the order of a Schedule.

`suggest` says None while all that are left wait for a stage: they hold no resources meanwhile.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from rayci.errors import RayciError, StorageError
from rayci.planning.schedule import Schedule
from rayci.trials.limits import Budget
from rayci.trials.reservations import Reservations
from rayci.trials.worker_errors import Faults, stopping

Config = Callable[[int], dict[str, Any]]
"""The Tune config of a trial, by its index in the plan."""


def _nothing(*_: Any) -> None:
    return None


def _none_lost() -> int:
    return 0


@dataclass
class Hooks:
    """What the driver does when something happens to a stage."""

    lost: Callable[[str, str | None], None] = _nothing
    """Called with the stage in which a trial is given up, and the traceback of what it said before."""
    ended: Callable[[int], None] = _nothing
    """Called with the index of a trial that ended, well or not."""
    stopped: Callable[[str], None] = _nothing
    """Called with the traceback of a worker that could not start, when the sweep stops for it."""
    nodes_lost: Callable[[], int] = _none_lost
    """How many nodes the cluster has lost so far: a trial that died with one is not to blame."""


@dataclass
class _Running:
    index: int
    left: list[str]
    """Stages that the trial must still see done, in order."""
    nodes_lost: int
    """How many nodes were lost when the trial was handed out."""
    fault: Mapping[str, Any] | None = None
    """What its worker said before it ended."""


@dataclass(eq=False)
class PrefixSearcher(Searcher):  # type: ignore[misc]
    """Trials in the schedule's order; at most `limit` of them, so that an experiment stays small."""

    schedule: Schedule
    config: Config
    stages: Callable[[int], list[str]]
    """Fingerprints of a trial's stages, by its index in the plan."""
    reservations: Reservations
    limit: int
    hooks: Hooks = field(default_factory=Hooks)
    budget: Budget | None = None
    """What may be spent, where there is a limit."""
    at_once: int | None = None
    """Most trials that are out at a time, where the number of workers is known. Tune reserves resources anew for a
    trial that waits for a worker; one that is handed out when a worker is free takes that worker as it is."""
    gpu_limit: float | None = None
    """Most GPUs of the trials that are out at a time."""
    running: dict[str, _Running] = field(default_factory=dict, init=False)
    """Trials that were handed out and have not ended, by Tune's id."""
    stopped: RayciError | None = field(default=None, init=False)
    """Why no more trials are handed out: rows cannot be written, or workers do not start."""
    withdrawn: bool = field(default=False, init=False)
    """Whether what was out was taken back: no node will ever hold it."""
    faults: Faults = field(default_factory=Faults, init=False)
    handed_out: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial; None = all that are left wait, or all workers are busy."""
        if (self.schedule.empty and not self.running) or self.handed_out >= self.limit or self.over:
            return str(Searcher.FINISHED)
        index = None if len(self.running) == self.at_once else self._next()
        if index is None:
            return None
        self.handed_out += 1
        left = self.stages(index)[self.schedule.first(index) :]
        self.running[trial_id] = _Running(index, left, self.hooks.nodes_lost())
        return self.config(index)

    def _next(self) -> int | None:
        """The trial to hand out; None where none may start now, or the next one has to wait for GPUs of others."""
        index = self.schedule.next(self.budget.admits) if self.budget else self.schedule.next()
        if index is not None and self._beyond_limit(index):
            self.schedule.again(index)
            return None
        if index is not None and self.budget:
            self.budget.begin(index)
        return index

    def _beyond_limit(self, index: int) -> bool:
        """Whether the trial would take more GPUs than the others that are out leave to it."""
        if self.gpu_limit is None:
            return False
        taken = sum(self.reservations.gpus(trial.index) for trial in self.running.values())
        return taken + self.reservations.gpus(index) > self.gpu_limit + 1e-9  # shares such as 0.1 do not add up exactly

    @property
    def over(self) -> bool:
        """Whether nothing more is handed out in this experiment."""
        return self.stopped is not None or self.withdrawn

    def withdraw(self) -> None:
        """Take back all trials that are out, none of which has a worker, and end the experiment."""
        self.withdrawn = True
        for trial in self.running.values():
            if self.budget is not None:
                self.budget.take_back(trial.index)
        self.running.clear()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A stage is at hand, or done; or the worker is about to end."""
        if trial_id not in self.running:
            return
        if "fault" in result:
            self.running[trial_id].fault = result
            if result["starting"] and self.faults.shared(result):
                self._stop(result)
        if "stage" not in result:
            return
        self.running[trial_id].fault = None
        if result["at_hand"]:
            self.schedule.release(result["stage"])
        if result["complete"]:
            left = self.running[trial_id].left
            left[:] = [mark for mark in left if mark != result["stage"]]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended, ran out of memory, or was given up."""
        if result:
            self.on_trial_result(trial_id, result)
        trial = self.running.pop(trial_id, None)
        if trial is None:
            return
        if self.budget is not None:
            self.budget.end(trial.index, result.get("time_total_s") if result else None, whole=not trial.left)
        if trial.fault is not None and trial.fault["starting"]:
            self._stop(trial.fault)
        if self.stopped is not None and trial.left:  # cut short
            return
        if result and not error and "stage" not in result:
            self.schedule.again(trial.index)
            if "storage_error" in result:
                self.stopped = StorageError(result["storage_error"])
            else:
                self.reservations.enlarge(trial.index)
            return
        if error and trial.left and self.hooks.nodes_lost() > trial.nodes_lost:
            self.schedule.again(trial.index)
            return
        if error and trial.left:
            self.hooks.lost(trial.left[0], trial.fault["traceback"] if trial.fault else None)
        self.schedule.end(trial.index)
        self.hooks.ended(trial.index)

    def _stop(self, fault: Mapping[str, Any]) -> None:
        """Hand nothing out any more: what this worker met, every other one meets."""
        if self.stopped is None:
            self.stopped = stopping(fault)
            self.hooks.stopped(fault["traceback"])

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles the searcher with each experiment, and nobody reads it

    def get_state(self) -> dict[str, Any]:
        """What Tune snapshots: nothing, because a restarted sweep plans anew from the table and the store."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Nothing to take over, see `get_state`."""

    def save(self, checkpoint_path: str) -> None:
        """Write the (empty) state to a file, as Tune asks."""
        with Path(checkpoint_path).open("wb") as stream:
            pickle.dump(self.get_state(), stream)

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to read, see `get_state`."""


class Stopped(tune.Stopper):  # type: ignore[misc]
    """Ends an experiment in which nothing more is handed out."""

    def __init__(self, searcher: PrefixSearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._searcher.over
