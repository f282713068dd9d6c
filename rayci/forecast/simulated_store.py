"""A sweep without its work: what lies in the store at what time, when so many workers share the trials."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping

from rayci.kinds import Keep
from rayci.planning.lifetimes import Lifetimes
from rayci.planning.plan import Plan
from rayci.planning.schedule import Schedule, Seconds


def most_held(
    plan: Plan, workers: int, seconds: Seconds, stages: Mapping[str, int], objects: Mapping[str, int]
) -> dict[Keep, int]:
    """Most bytes held at a time, by what is kept, of `stages` and of `objects` built from one (each by its mark).

    Trials start as the schedule hands them out to free workers; a stage takes `seconds`.
    """
    simulated = _Store(plan, seconds, stages, objects)
    events: list[tuple[float, int, int]] = []
    """When a trial has done its stage of this depth: (time, trial, depth)."""
    now, free = 0.0, workers
    while True:
        while free and (index := simulated.schedule.next()) is not None:
            heapq.heappush(events, (now, index, simulated.schedule.first(index) - 1))
            free -= 1
        if not events:
            return simulated.most
        now, index, depth = heapq.heappop(events)
        own = plan.trials[index].stages
        if depth >= simulated.schedule.first(index):
            simulated.done(index, depth)
        if depth + 1 < len(own):
            heapq.heappush(events, (now + seconds(own[depth + 1]), index, depth + 1))
        else:
            simulated.end(index)
            free += 1


class _Store:
    """What is held as trials do their stages and end."""

    def __init__(self, plan: Plan, seconds: Seconds, stages: Mapping[str, int], objects: Mapping[str, int]) -> None:
        every = range(len(plan.trials))
        self.schedule, self._lifetimes = Schedule(plan, every, seconds=seconds), Lifetimes(plan, every)
        self._plan, self._stages, self._objects = plan, stages, objects
        self._shared: dict[str, int] = {}
        self._built: set[str] = set()
        self._of_stage = Counter[str]()
        self._held = dict.fromkeys(Keep, 0)
        self.most = dict.fromkeys(Keep, 0)

    def done(self, index: int, depth: int) -> None:
        """A trial has done its stage of this depth: it is stored where others continue from it or all are kept."""
        stage = self._plan.trials[index].stages[depth]
        mark = stage.fingerprint
        if depth and mark not in self._shared:
            shared = self.schedule.keeps(mark) or self._lifetimes.users(mark) > 1
            self._shared[mark] = self._stages[mark] if shared else 0
            self._add(Keep.ALL, self._stages[mark])
            self._add(Keep.SHARED, self._shared[mark])
            self._add(Keep.NONE, self._shared[mark])
        if stage.built is not None and stage.built not in self._built:
            self._built.add(stage.built)
            before = self._plan.trials[index].stages[depth - 1].fingerprint
            self._of_stage[before] += self._objects[stage.built]
            for keep in Keep:
                self._add(keep, self._objects[stage.built])
        self.schedule.release(mark)

    def end(self, index: int) -> None:
        """A trial has ended: what nobody continues from any longer goes."""
        self.schedule.end(index)
        for mark in self._lifetimes.end(index):
            for keep in Keep:
                self._held[keep] -= self._of_stage[mark]
            self._held[Keep.NONE] -= self._shared.get(mark, 0)

    def _add(self, keep: Keep, size: int) -> None:
        self._held[keep] += size
        self.most[keep] = max(self.most[keep], self._held[keep])
