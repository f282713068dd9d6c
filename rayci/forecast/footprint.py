"""Bytes of stored stages, told from shapes: changed tensors, masks and grids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from rayci.kinds import Keep
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner
from rayci.workload import Workload


class Footprint:
    """Sizes of the stages of one sweep on one model."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._sizes = {name: value.nbytes for name, value in work.subject.model.named_parameters()}
        self._changes: dict[str, frozenset[str]] = {}
        self._kept: dict[str, int] = {}
        self._unions: dict[frozenset[frozenset[str]], int] = {}

    def stage_bytes(self, links: Iterable[Link]) -> int:
        """Bytes of a stored stage: every parameter changed on the way once, and what each step keeps."""
        links = list(links)
        for link in links:
            if str(link) not in self._changes:
                self._changes[str(link)] = self._work.changed_by(link.intervention)
                self._kept[str(link)] = link.intervention.kept_bytes(self._work.subject)
        parts = frozenset(self._changes[str(link)] for link in links)
        if parts not in self._unions:
            names = frozenset[str]().union(*parts)
            self._unions[parts] = sum(self._sizes[name] for name in names if name in self._sizes)
        return self._unions[parts] + sum(self._kept[str(link)] for link in links)

    def peak(self, plan: Plan, planner: Planner, keep: Keep = Keep.NONE) -> int:
        """Most bytes that the stage store holds at a time, objects that methods build from a stage included.

        One worker takes the trials in the plan's order; a stage that another trial continues from
        is stored when its first trial has made it and freed when the last that contains it has ended, unless it is
        to be kept; what was built from it is always freed. With `all`, every other stage is stored as well.
        """
        last = {stage.fingerprint: index for index, trial in enumerate(plan.trials) for stage in trial.stages[:-1]}
        held, most = 0, 0
        stored: dict[str, int] = {}
        objects: Counter[str] = Counter()
        known: set[str] = set()
        for index, trial in enumerate(plan.trials):
            links = planner.chain(trial.composition)
            for before, stage in pairwise(trial.stages):
                key = stage.fingerprint
                if key not in stored and (keep is Keep.ALL or (key in plan.shared and last[key] > index)):
                    stored[key] = self.stage_bytes(links[: stage.depth])
                    held += stored[key]
                if stage.built is not None and stage.built not in known:
                    known.add(stage.built)
                    size = links[before.depth].intervention.built_bytes(self._work)
                    objects[before.fingerprint] += size
                    held += size
            most = max(most, held)
            ended = [stage.fingerprint for stage in trial.stages[:-1] if last[stage.fingerprint] == index]
            held -= sum(objects[mark] for mark in ended)
            if keep is Keep.NONE:
                held -= sum(stored.get(mark, 0) for mark in ended)
        return most
