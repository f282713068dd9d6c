"""A schedule on emulated nodes: simulated time, every rule of the schedule checked on the way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from rayci.planning.plan import Plan, Stage
from rayci.planning.schedule import Schedule


def makespan(plan: Plan, schedule: Schedule, seconds: Callable[[Stage], float], nodes: int) -> float:
    """Time until all trials have ended on `nodes` nodes that run one trial each.

    Asserts that every trial starts once, that a stage is computed once, and that a trial starts
    only when what it continues from is there.
    """
    now, free, started = 0.0, nodes, 0
    built: dict[str, float] = {}
    counter = itertools.count()  # two events at one time happen in the order in which they were made
    events: list[tuple[float, int, str | None, int]] = []
    while True:
        while free and (index := schedule.next()) is not None:
            free, started = free - 1, started + 1
            stages, first = plan.trials[index].stages, schedule.first(index)
            assert all(built[stage.fingerprint] <= now for stage in stages[:first][-1:])
            end = now
            for stage in stages[first:]:
                assert stage.fingerprint not in built, f"{stage.chain} is computed twice"
                end += seconds(stage)
                # The untouched model is there from the start: whoever measures it holds nobody up.
                built[stage.fingerprint] = now if stage.depth == 0 else end
                heapq.heappush(events, (built[stage.fingerprint], next(counter), stage.fingerprint, index))
            heapq.heappush(events, (end, next(counter), None, index))
        if not events:
            assert schedule.empty and started == len(plan.trials)
            return now
        now, _, mark, index = heapq.heappop(events)
        if mark is None:
            schedule.end(index)
            free += 1
        else:
            schedule.release(mark)


def lower_bound(plan: Plan, seconds: Callable[[Stage], float], nodes: int) -> float:
    """No schedule is faster than the longest chain, nor than all work spread over the nodes as soon as there is any.

    However many nodes there are, a stage cannot begin before the chain up to it has ended, so by time s at most so much
    work W(s) is done, and by time t at most W(s) + nodes · (t − s). All of it is done at t only where that suffices for
    every s ≤ t. The untouched model is there from the start.
    """
    spans: dict[str, tuple[float, float]] = {}
    for trial in plan.trials:
        now = 0.0
        for stage in trial.stages[1:]:
            spans[stage.fingerprint] = (now, now := now + seconds(stage))
    changes = sorted([*((start, 1) for start, _ in spans.values()), *((end, -1) for _, end in spans.values())])
    total = sum(end - start for start, end in spans.values())
    done, before, running, bound = 0.0, 0.0, 0, total / nodes
    for now, change in changes:
        done, before = done + running * (now - before), now
        running += change
        bound = max(bound, now + (total - done) / nodes)
    return bound
