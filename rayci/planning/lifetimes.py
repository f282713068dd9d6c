"""How long stored stages are needed, weights and objects: until no trial that is left can go on from them.

The untouched model counts among them: its weights are not stored, but what methods build from it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from rayci.planning.plan import Plan, Trial


class Lifetimes:
    """Counts, for each stage, the trials that may still continue from it; a trial's end costs its length."""

    def __init__(self, plan: Plan, todo: Iterable[int], done: Collection[str] = ()) -> None:
        """`todo`: trials that are left, by index into the plan; `done`: stages whose rows are there."""
        self._needs = {index: tuple(_needed(plan.trials[index], done)) for index in todo}
        self._users = Counter(stage for needed in self._needs.values() for stage in needed)

    def end(self, index: int) -> list[str]:
        """A trial has ended, well or not; returns the stages that no trial needs any longer. Twice is harmless."""
        freed = []
        for stage in self._needs.pop(index, ()):
            self._users[stage] -= 1
            if not self._users[stage]:
                del self._users[stage]
                freed.append(stage)
        return freed

    def users(self, stage: str) -> int:
        """How many trials that are left may continue from a stage."""
        return self._users[stage]

    def unneeded(self, stored: Iterable[str]) -> set[str]:
        """Which of these stages no trial that is left continues from: what a killed run left behind."""
        return {stage for stage in stored if stage not in self._users}


def _needed(trial: Trial, done: Collection[str]) -> Iterable[str]:
    """Stages of a trial from which a later one, that is not done, may be computed."""
    left = [stage.depth for stage in trial.stages if stage.fingerprint not in done]
    return (stage.fingerprint for stage in trial.stages[:-1] if left and stage.depth < left[-1])
