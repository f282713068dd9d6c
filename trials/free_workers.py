"""Which trial takes a worker that became free: none whose own worker is about to start."""

from __future__ import annotations

import time
from typing import Any

from ray.tune.schedulers import FIFOScheduler

STARTING = 10.0
"""Seconds that a trial's own worker is given to start."""


class FreeWorkers(FIFOScheduler):  # type: ignore[misc]
    """First come, first served, once a trial has waited for longer than a worker takes to start.

    Tune's own scheduler gives a free worker to the oldest trial at once, and kills the one that was
    starting for it: with trials shorter than that start, a sweep has never more than one worker. It also
    looks at all trials of the experiment, at every event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._added: dict[Any, float] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A new trial, or one whose worker died."""
        self._added.pop(trial, None)
        self._added[trial] = time.monotonic()

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The oldest trial that has waited long; None leaves the free worker to the next new one."""
        while self._added:
            trial, since = next(iter(self._added.items()))
            if trial.status == trial.PENDING:
                return trial if time.monotonic() - since > STARTING else None
            del self._added[trial]
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it with each experiment, and nobody reads it
