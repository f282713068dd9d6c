"""Bytes of stored stages, told from shapes: changed tensors, masks and grids.

An intervention may say, without weights, which parameters it will change, by a method
`changes(subject)` that returns their names. Without one a compressor is taken to change every
linear, anything else all parameters of the decoder blocks: an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from rayci.errors import RequestError
from rayci.intervention import Compressor, Intervention
from rayci.interventions.compression.quantiser import Quantiser
from rayci.model import modules
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner
from rayci.subject import Subject


@runtime_checkable
class Foreseen(Protocol):
    """An intervention that knows beforehand what it will change."""

    def changes(self, subject: Subject) -> Sequence[str]:
        """Names of parameters; `subject` may be one without weights."""


def changes(intervention: Intervention, subject: Subject) -> frozenset[str]:
    """Names of the parameters that a step will change, or an upper bound."""
    if isinstance(intervention, Foreseen):
        try:
            return frozenset(intervention.changes(subject))
        except RequestError:  # it will fail when it runs; nothing is known of what it stores
            pass
    if isinstance(intervention, Compressor):
        return frozenset(subject.weight_names())
    root = f"{subject.paths.blocks}."
    return frozenset(name for name, _ in subject.model.named_parameters() if name.startswith(root))


def kept_bytes(intervention: Intervention, subject: Subject) -> int:
    """Bytes of what a compressor keeps to be applied again: a bit a weight, or fp32 scale and zero a group."""
    if not isinstance(intervention, Compressor):
        return 0
    shapes = [modules.weight(module).shape for _, module in subject.linears()]
    if not isinstance(intervention, Quantiser):
        return sum(-(-shape.numel() // 8) for shape in shapes)
    size = intervention.group_size
    return sum(8 * rows * max(1, columns // size if size > 0 else 1) for rows, columns in shapes)


class Footprint:
    """Sizes of the stages of one sweep on one model."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._sizes = {name: value.nbytes for name, value in subject.model.named_parameters()}
        self._changes: dict[str, frozenset[str]] = {}
        self._kept: dict[str, int] = {}
        self._unions: dict[frozenset[frozenset[str]], int] = {}

    def stage_bytes(self, links: Iterable[Link]) -> int:
        """Bytes of a stored stage: every parameter changed on the way once, and what each step keeps."""
        links = list(links)
        for link in links:
            if str(link) not in self._changes:
                self._changes[str(link)] = changes(link.intervention, self._subject)
                self._kept[str(link)] = kept_bytes(link.intervention, self._subject)
        parts = frozenset(self._changes[str(link)] for link in links)
        if parts not in self._unions:
            names = frozenset[str]().union(*parts)
            self._unions[parts] = sum(self._sizes[name] for name in names if name in self._sizes)
        return self._unions[parts] + sum(self._kept[str(link)] for link in links)

    def peak(self, plan: Plan, planner: Planner) -> int:
        """Most bytes that the stage store holds at a time.

        One worker takes the trials in the plan's order; a stage that another trial continues from
        is stored when its first trial has made it and freed when the last that contains it has ended.
        """
        last: dict[str, int] = {}
        for index, trial in enumerate(plan.trials):
            for stage in trial.stages[1:-1]:
                if stage.fingerprint in plan.shared:
                    last[stage.fingerprint] = index
        held, most = 0, 0
        stored: dict[str, int] = {}
        for index, trial in enumerate(plan.trials):
            for stage in trial.stages[1:]:
                mark = stage.fingerprint
                if mark in plan.shared and mark not in stored and last[mark] > index:
                    stored[mark] = self.stage_bytes(planner.chain(trial.composition)[: stage.depth])
                    held += stored[mark]
            most = max(most, held)
            held -= sum(stored[s.fingerprint] for s in trial.stages[1:] if last.get(s.fingerprint) == index)
        return most
