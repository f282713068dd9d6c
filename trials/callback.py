"""What a sweep tells its caller while it runs.

    class Watch(Callback):
        def stage_done(self, trial, stage, values):
            print(stage.chain, values.get("edit_success"))

    launch("quickstart", callbacks=[Watch()])

Methods are called in the driver's process, one after the other. An error in one of them is a note of the run; the
sweep goes on. What was done before this launch is not told of.
"""

from __future__ import annotations

from collections.abc import Mapping

from rayci.planning.plan import Stage, Trial


class Callback:
    """Override what is wanted; the rest does nothing."""

    def stage_done(self, trial: Trial, stage: Stage, values: Mapping[str, float]) -> None:
        """A stage has its rows; `values` are the readings of the trial's own edit batch by criterion."""

    def stage_failed(self, trial: Trial, stage: Stage, reason: str) -> None:
        """A stage has no weights: its method failed, or its worker died twice."""

    def trial_done(self, trial: Trial) -> None:
        """A trial has ended, with all its stages or with a failure."""
