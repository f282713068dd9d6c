"""Bytes of stored stages, told from shapes: changed weights in the form that each step leaves, masks and grids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from rayci.forecast.simulated_store import most_held
from rayci.intervention import Intervention
from rayci.kinds import Keep
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner
from rayci.planning.schedule import Seconds, equally_long
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
                self._kept[str(link)] = self._kept_bytes(link.intervention)
        steps = tuple(self._steps[str(link)] for link in links)
        if steps not in self._written:
            self._written[steps] = self._by_writer(steps)
        bits = 8 * self._work.element
        weights = sum(
            size * (1.0 if last is None else links[last].intervention.stored_share(bits, untouched))
            for (last, untouched), size in self._written[steps].items()
        )
        return round(weights) + sum(self._kept[str(link)] for link in links)

    def _kept_bytes(self, intervention: Intervention) -> int:
        return intervention.kept_bytes(self._work.subject) + intervention.kept_of_edits(self._work)

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

    def peaks(self, plan: Plan, planner: Planner, workers: int = 1, seconds: Seconds = equally_long) -> dict[Keep, int]:
        """Most bytes that the stage store holds at a time, by what is kept; objects that methods build are freed.

        Stages that other trials continue from come, and go where none are kept, as so many workers whose stages take
        `seconds` build them and need them no longer.
        """
        by_chain: dict[str, int] = {}
        stages: dict[str, int] = {}
        objects: dict[str, int] = {}
        for trial in plan.trials:
            links = planner.chain(trial.composition)
            for before, stage in pairwise(trial.stages):
                if stage.chain not in by_chain:
                    by_chain[stage.chain] = self.stage_bytes(links[: stage.depth])
                stages[stage.fingerprint] = by_chain[stage.chain]
                if stage.built is not None and stage.built not in objects:
                    objects[stage.built] = links[before.depth].intervention.built_bytes(self._work)
        return most_held(plan, workers, seconds, stages, objects)
