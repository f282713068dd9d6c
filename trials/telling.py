"""Tells the caller's callbacks of what Tune reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from ray import tune

from rayci.planning.plan import Plan, Trial
from rayci.trials.callback import Callback


class Telling(tune.Callback):  # type: ignore[misc]
    """Calls every callback; what one of them raises is a note, once for each of its methods."""

    def __init__(self, plan: Plan, callbacks: Sequence[Callback]) -> None:
        self._plan, self._callbacks = plan, tuple(callbacks)
        self.notes: dict[str, None] = {}
        """Errors of callbacks, each once."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks with each experiment; the caller's need not be picklable

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A stage is done, or a part of one."""
        if not self._callbacks or not result.get("complete"):
            return
        told, stage = self._trials[trial.config["trial"]], self._plan.stages[result["stage"]]
        if result["failure"] is None:
            self._tell("stage_done", lambda callback: callback.stage_done(told, stage, result["criteria"]))
        else:
            self._tell("stage_failed", lambda callback: callback.stage_failed(told, stage, result["failure"]))
        if result["done"]:
            self._tell("trial_done", lambda callback: callback.trial_done(told))

    def lost(self, stage: str, reason: str) -> None:
        """A trial was given up in this stage."""
        if self._callbacks:
            told = self._trials[self._plan.owners[stage]]
            failed = self._plan.stages[stage]
            self._tell("stage_failed", lambda callback: callback.stage_failed(told, failed, reason))
            self._tell("trial_done", lambda callback: callback.trial_done(told))

    @cached_property
    def _trials(self) -> dict[str, Trial]:
        return {trial.id: trial for trial in self._plan.trials}

    def _tell(self, method: str, call: Callable[[Callback], None]) -> None:
        for callback in self._callbacks:
            try:
                call(callback)
            except Exception as error:  # the caller's code; the sweep is worth more than it
                name = f"{type(callback).__name__}.{method}"
                self.notes[f"{name} raised {type(error).__name__}: {error}; the sweep went on"] = None
