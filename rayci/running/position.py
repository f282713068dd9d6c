"""Where the subject of a worker stands, and how it gets to another stage.

The nearest stage that is stored is loaded, and the steps that are left are applied. A step that
runs out of memory is tried again with smaller batches, from the nearest stage on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from rayci.context import Context
from rayci.errors import OutOfMemory, gathered, refuse
from rayci.intervention import Applied, Intervention
from rayci.model.peak_memory import PeakMemory
from rayci.planning.chain import Link
from rayci.planning.plan import Stage, Trial
from rayci.planning.sweep import Sweep
from rayci.running.out_of_memory import ran_out, release_memory, smaller
from rayci.running.reasons import out_of_memory_for_good, reason_of, traceback_of
from rayci.running.stated_operations import StatedOperations
from rayci.running.timesheet import Activity, Span, Timesheet
from rayci.storage.stages import Outcome, StageStore
from rayci.subject import Subject


@dataclass
class Position:
    """The stage that a subject is at, and its ways to others: the store, the base, further steps."""

    sweep: Sweep
    subject: Subject
    store: StageStore
    sharing: bool = True
    """Whether stored weights are read and written."""
    debug: bool = False
    """Let an exception of a method through, in place of an outcome with its reason."""
    sheet: Timesheet = field(default_factory=Timesheet)
    """Where what the ways take is counted."""
    _at: str = field(default="", init=False)
    """Fingerprint of the stage that the subject is at."""
    _smaller: dict[str, Intervention] = field(default_factory=dict, init=False)
    """Steps that ran out of memory here, with smaller batches."""
    _hopeless: set[str] = field(default_factory=set, init=False)
    """Steps that the smallest batches do not help."""
    _refusals: dict[tuple[str, int | None, int | None], str | None] = field(default_factory=dict, init=False)
    """Step, edit batch and seed -> why it cannot be applied; each is checked once."""
    _notes: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.subject.base is None:
            self.subject.remember_base()
        self._at = self.sweep.planner.root.fingerprint
        self._stated = StatedOperations(self.sweep, self.subject)

    def take_notes(self) -> list[str]:
        """What happened on the way since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def refusals(self, trial: Trial, first: int) -> dict[int, str]:
        """Depth -> why the step to it cannot be applied, from depth `first` on; nothing is applied to find out."""
        links = self.sweep.planner.chain(trial.composition)
        with self.sheet.on(Activity.LOAD):
            reasons = {
                depth: self._refusal(links[depth - 1], trial.stages[depth])
                for depth in range(max(first, 1), len(trial.stages))
                if not links[depth - 1].recompression  # of a step that has been applied before
            }
        return {depth: reason for depth, reason in reasons.items() if reason is not None}

    def _refusal(self, link: Link, stage: Stage) -> str | None:
        key = (str(link), stage.replicate, stage.seed)
        if key not in self._refusals:
            context = self.sweep.context(stage.replicate, stage.seed)
            faults = gathered(self.subject.faults(link.intervention, context))
            if self.debug:
                refuse(faults)
            self._refusals[key] = "; ".join(map(reason_of, faults)) or None
        return self._refusals[key]

    def reach(self, trial: Trial, depth: int, keep: Sequence[bool], *, no_more: str | None) -> tuple[int, Outcome]:
        """Bring the subject to a stage; returns the number of steps applied and how the last went.

        Stages on the way were stored once; where one is kept and is not there any more, it is stored
        again. Raises OutOfMemory where smaller batches do not help, unless `no_more` says why there is no more memory.
        """
        with self.sheet.on(Activity.LOAD):
            return self._reach(trial, depth, keep, no_more)

    def _reach(self, trial: Trial, depth: int, keep: Sequence[bool], no_more: str | None) -> tuple[int, Outcome]:
        links = self.sweep.planner.chain(trial.composition)
        start = index = self._nearest(trial, depth, links)
        outcome = Outcome(0.0, None, None)
        if start == depth:
            fingerprint = trial.stages[depth].fingerprint
            outcome = self.store.outcome(fingerprint) or outcome
            self._put_outcome(fingerprint, outcome)
        while index < depth:
            link, stage = links[index], trial.stages[index + 1]
            self.sheet.work_was_load()
            try:
                outcome = self._apply(link, self._context(stage), no_more)
            except OutOfMemory as error:
                self.to_base(everything=True)
                release_memory()
                self._shrink(link, stage, error, no_more)
                index = self._nearest(trial, index, links)
                continue
            self._put_outcome(stage.fingerprint, outcome)
            if outcome.failure is not None:
                self.to_base(everything=True)
                return index + 1 - start, outcome
            self._at = stage.fingerprint
            index += 1
            if index < depth and keep[index]:
                self.keep(stage)
        return depth - start, outcome

    def _put_outcome(self, fingerprint: str, outcome: Outcome) -> None:
        with self.sheet.on(Activity.STORE):
            self.store.put_outcome(fingerprint, outcome)

    def keep(self, stage: Stage) -> None:
        """Store the weights of the stage that the subject is at, unless they are there."""
        with self.sheet.on(Activity.STORE):
            if self.sharing and stage.depth and not self.store.has_weights(stage.fingerprint):
                subject, changed = self.subject, self.subject.changed()
                weights, base = (
                    subject.matrices(subject.parameters_of(changed)),
                    subject.matrices(subject.base_of(changed)),
                )
                self.store.put_weights(stage.fingerprint, weights, subject.receipts, base)

    def to_base(self, *, everything: bool = False) -> None:
        """Back to the untouched model; `everything` after a failure, when any weight may have changed."""
        self.subject.restore(everything=everything)
        self._at = self.sweep.planner.root.fingerprint

    def _nearest(self, trial: Trial, depth: int, links: Sequence[Link]) -> int:
        """Go to the deepest stage on the way that is at hand; returns its depth."""
        for candidate in range(depth, 0, -1):
            fingerprint = trial.stages[candidate].fingerprint
            if fingerprint == self._at:
                return candidate
            weights = self.store.weights(fingerprint) if self.sharing else None
            if weights is not None:
                packed, receipts = weights
                steps = zip(links, receipts, strict=False)
                self.subject.load(packed, [Applied(link.intervention, r, link.recompression) for link, r in steps])
                self._at = fingerprint
                return candidate
        self.to_base()
        return 0

    def _context(self, stage: Stage) -> Context:
        """What the step to a stage may read; what it builds from the stage it starts from is kept beside that one."""
        context = self.sweep.context(stage.replicate, stage.seed)
        if not self.sharing:
            return context
        return replace(context, objects=self.store.objects(self._at, partial(self.sheet.on, Activity.IDLE)))

    def _apply(self, link: Link, context: Context, no_more: str | None) -> Outcome:
        failure = origin = operations = None
        intervention = self._smaller.get(str(link), link.intervention)
        peak, span = PeakMemory(self.subject.device), Span()
        try:
            with self.sheet.on(Activity.APPLY) as span, peak:
                self.subject.apply(intervention, context, link.recompression)
        except Exception as error:  # a failing method is a row, and the sweep goes on
            if self.debug:
                raise
            origin = traceback_of(error)
            if not ran_out(error):
                failure = reason_of(error)
            elif no_more is None or str(link) not in self._hopeless:
                raise OutOfMemory(reason_of(error)) from None
            else:
                failure = out_of_memory_for_good(error, no_more)
        else:  # with the settings as asked for, so that a later step knows it again
            self.subject.applied[-1] = replace(self.subject.applied[-1], intervention=link.intervention)
            if link.recompression != "reproject":  # which no method speaks of
                operations = self._stated.of(link.intervention)
            receipt = self.subject.receipts[-1]
            self._notes += [f"{link}: {said}" for said in (*receipt.retries, *receipt.notes)]
        self.sheet.applied(operations)
        return Outcome(span.seconds, peak.bytes, failure, origin)

    def _shrink(self, link: Link, stage: Stage, error: OutOfMemory, no_more: str | None) -> None:
        """Use smaller batches for a step from now on; OutOfMemory where they are as small as can be."""
        less = smaller(self._smaller.get(str(link), link.intervention))
        if less is not None:
            self._smaller[str(link)], batches = less
            self._notes.append(f"{stage.chain}: out of memory, {batches} is tried")
            return
        self._hopeless.add(str(link))
        if no_more is None:
            raise OutOfMemory(f"{stage.chain}: {error}") from None
