"""Which trial may start next: every shared stage built once, the longest work first.

Stages form a tree. Of the trials that need a stage which is not at hand, the first in the
plan's order builds it, whatever the number of workers; the others wait, holding no resources,
until its weights are stored. Of those that would build the same object from a stage, the first
does, and the others wait until it stands at the stage after that. Among the trials that may start,
those of the first priority (their own, or that of a trial that waits for them) go first; among
these, the one with the longest way still ahead (its own stages, or those of a trial that waits for it).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from rayci.planning.plan import Plan, Stage, Trial

Seconds = Callable[[Stage], float]
"""How long a stage takes to apply and measure; only ratios matter."""


def equally_long(stage: Stage) -> float:
    """One unit for every stage, where nothing is known of their times."""
    return 1.0


def _any_trial(index: int) -> bool:
    return True


class Schedule:
    """Trials by index into the plan, in the order in which they may start; no clock, no Ray."""

    def __init__(
        self,
        plan: Plan,
        todo: Iterable[int],
        at_hand: Collection[str] = (),
        *,
        seconds: Seconds = equally_long,
        sharing: bool = True,
    ) -> None:
        """`at_hand`: stages that nobody has to build, see `at_hand`."""
        self._plan = plan
        todo = sorted(todo)
        self._builder: dict[str, int] = {}
        self._starts: dict[int, int] = {}
        self._goes_on_from: dict[int, str] = {}
        self._needs: dict[int, str] = {}
        self._objects = {s.built: mark for mark, s in plan.stages.items() if s.built is not None and mark in at_hand}
        for index in todo if sharing else ():
            self._place(index, at_hand)
        self._ahead = self._levels(todo, at_hand, seconds)
        self._priority = self._priorities(todo)
        self.held_back: list[int] = []
        """Trials that are not started: `next` was told so of them, or of one that they wait for."""
        self._waiting: dict[str, list[int]] = {}
        self._kept: set[str] = set()
        for index, awaited in self._needs.items():
            self._waiting.setdefault(awaited, []).append(index)
            if index in self._goes_on_from and self.first(index) < len(plan.trials[index].stages):
                self._kept.add(self._goes_on_from[index])
        self._ready = [self._place_in_line(index) for index in todo if index not in self._needs]
        heapq.heapify(self._ready)

    def _place(self, index: int, at_hand: Collection[str]) -> None:
        """Note what a trial builds; what it needs is the deepest stage that an earlier one builds.

        It may wait for another one, to which that earlier trial comes with an object that both build.
        """
        for depth, stage in enumerate(self._plan.trials[index].stages):
            mark = stage.fingerprint
            if mark in at_hand:
                continue
            if self._builder.setdefault(mark, index) != index:
                self._needs[index] = self._goes_on_from[index] = mark
                self._starts[index] = depth + 1
            elif stage.built is not None:
                first = self._objects.setdefault(stage.built, mark)
                if first != mark and first not in at_hand:
                    self._needs[index] = first

    def _levels(self, todo: Sequence[int], at_hand: Collection[str], seconds: Seconds) -> dict[int, float]:
        """Time from the start of each trial to the end of the longest way that goes through it."""
        until: dict[int, dict[str, float]] = {}
        for index in todo:
            stages = self._plan.trials[index].stages[self.first(index) :]
            own = [0.0 if stage.fingerprint in at_hand else seconds(stage) for stage in stages]
            until[index] = dict(zip((stage.fingerprint for stage in stages), accumulate(own), strict=True))
        ahead: dict[int, float] = {}
        through: dict[int, float] = {}
        for index in reversed(todo):  # a trial stands before those that wait for it
            ahead[index] = max(max(until[index].values(), default=0.0), through.get(index, 0.0))
            if (awaited := self._needs.get(index)) is not None:
                builder = self._builder[awaited]
                through[builder] = max(through.get(builder, 0.0), until[builder][awaited] + ahead[index])
        return ahead

    def _priorities(self, todo: Sequence[int]) -> dict[int, int]:
        """The priority of each trial: its own, or that of the most urgent one that waits for it."""
        priority: dict[int, int] = {index: self._plan.trials[index].priority for index in todo}
        for index in reversed(todo):
            if (awaited := self._needs.get(index)) is not None:
                builder = self._builder[awaited]
                priority[builder] = min(priority[builder], priority[index])
        return priority

    def _place_in_line(self, index: int) -> tuple[int, float, int]:
        return self._priority[index], -self._ahead[index], index

    def first(self, index: int) -> int:
        """Depth of the first stage that the trial itself must see done; earlier ones are another's."""
        return self._starts.get(index, 0)

    def keeps(self, stage: str) -> bool:
        """Whether a trial continues from this stage of another one, so that its weights are stored."""
        return stage in self._kept

    @property
    def waiting(self) -> int:
        """How many trials wait for a stage."""
        return sum(map(len, self._waiting.values()))

    @property
    def empty(self) -> bool:
        """Whether no trial is left to start, now or later."""
        return not self._ready and not self._waiting

    def next(self, admits: Callable[[int], bool] = _any_trial) -> int | None:
        """The trial to start now, or None where all that are left wait.

        One that `admits` refuses is held back, with those that wait for what it would have built.
        """
        while self._ready:
            index = heapq.heappop(self._ready)[-1]
            if admits(index):
                return index
            self._hold_back(index)
        return None

    def _hold_back(self, index: int) -> None:
        refused = [index]
        while refused:
            self.held_back.append(index := refused.pop())
            for stage in self._built_by(index):
                refused += self._waiting.pop(stage, ())

    def again(self, index: int) -> None:
        """Let a trial start anew: it could not do its work (out of memory, say)."""
        heapq.heappush(self._ready, self._place_in_line(index))

    def release(self, stage: str) -> None:
        """A stage is at hand: the trials that wait for it may start."""
        for index in self._waiting.pop(stage, ()):
            self.again(index)

    def end(self, index: int) -> None:
        """A trial ended, well or not: nobody waits for it any longer."""
        for stage in self._built_by(index):
            self.release(stage)

    def _built_by(self, index: int) -> list[str]:
        """Stages that others get from this trial."""
        own = (stage.fingerprint for stage in self._plan.trials[index].stages[self.first(index) :])
        return [stage for stage in own if self._builder.get(stage) == index]


def in_turn(plan: Plan, seconds: Seconds = equally_long) -> Iterator[Trial]:
    """The trials of a plan of which nothing is done, in the order in which a single worker starts them."""
    schedule = Schedule(plan, range(len(plan.trials)), seconds=seconds)
    while (index := schedule.next()) is not None:
        yield plan.trials[index]
        schedule.end(index)


def at_hand(plan: Plan, todo: Iterable[int], done: Collection[str], stored: Callable[[str], bool]) -> set[str]:
    """Stages that nobody has to build when the trials `todo` are left.

    A stage is at hand when its rows are (`done`) and, where a trial has to go on from it,
    its weights are stored too.
    """
    trials = [plan.trials[index].stages for index in todo]
    needed = {
        before.fingerprint
        for stages in trials
        for before, after in pairwise(stages[1:])
        if after.fingerprint not in done
    }
    return {stage for stage in done if stage not in needed or stored(stage)}
