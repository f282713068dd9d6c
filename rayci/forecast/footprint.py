"""Bytes of stored stages, told from shapes: changed weights in the form that each step leaves, masks and grids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from rayci.kinds import Keep
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner
from rayci.workload import Workload

Step = tuple[frozenset[str], bool]
"""Parameters that a step changes, and whether it keeps the values of those that it does not zero."""
Writer = tuple[int | None, bool]
"""The step that wrote a linear's weights last (None: no linear's), and whether all before it kept their values too."""


class Footprint:
    """Sizes of the stages of one sweep on one model."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._sizes = {name: value.nbytes for name, value in work.subject.model.named_parameters()}
        self._linears = frozenset(work.subject.weight_names())
        self._steps: dict[str, Step] = {}
        self._kept: dict[str, int] = {}
        self._written: dict[tuple[Step, ...], Mapping[Writer, int]] = {}

    def stage_bytes(self, links: Iterable[Link]) -> int:
        """Bytes of a stored stage: every parameter changed on the way once, and what each step keeps.

        At most: a form that happens to be smaller still is not foreseen.
        """
        links = list(links)
        for link in links:
            if str(link) not in self._steps:
                self._steps[str(link)] = self._work.changed_by(link.intervention), link.intervention.keeps_values
                self._kept[str(link)] = link.intervention.kept_bytes(self._work.subject)
        steps = tuple(self._steps[str(link)] for link in links)
        if steps not in self._written:
            self._written[steps] = self._by_writer(steps)
        bits = 8 * self._work.element
        weights = sum(
            size * (1.0 if last is None else links[last].intervention.stored_share(bits, untouched))
            for (last, untouched), size in self._written[steps].items()
        )
        return round(weights) + sum(self._kept[str(link)] for link in links)

    def _by_writer(self, steps: Iterable[Step]) -> Mapping[Writer, int]:
        """Bytes of the changed parameters as they would be dense, by who wrote them last."""
        writers: dict[str, Writer] = {}
        moved = frozenset[str]()
        for index, (names, keeps_values) in enumerate(steps):
            moved = moved if keeps_values else moved | names
            writers |= {name: (index if name in self._linears else None, name not in moved) for name in names}
        sizes = Counter[Writer]()
        for name, writer in writers.items():
            sizes[writer] += self._sizes.get(name, 0)
        return sizes

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
