"""Run one composition, stage by stage: apply, measure, write the rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rayci.context import Context
from rayci.errors import OutOfMemory
from rayci.intervention import Intervention
from rayci.kinds import Status
from rayci.planning.chain import Link
from rayci.planning.plan import Stage, Trial
from rayci.planning.sweep import Sweep
from rayci.running.out_of_memory import ran_out, release_memory, smaller
from rayci.running.peak_memory import PeakMemory
from rayci.running.readings import Readings
from rayci.running.reasons import reason_of, traceback_of
from rayci.running.rows import Measured, blocked_by, publish, without_value
from rayci.storage.parts import Parts
from rayci.storage.stages import Outcome, StageStore
from rayci.subject import Applied, Subject


@dataclass(frozen=True)
class StageReport:
    """What happened to one stage of a trial."""

    stage: Stage
    applied: int
    """Steps applied to get there; 0 where the stage was there already."""
    measured: bool
    """Whether its criteria were measured now."""
    failure: str | None
    at_hand: bool = True
    """Whether other trials may go on from the stage."""
    complete: bool = True
    """Whether its rows are on disk; False between storing the weights and measuring."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Readings of the trial's own replicate by criterion, where there are values."""
    notes: tuple[str, ...] = ()
    """What happened beside the rows: a damaged stage set aside, a smaller batch."""


@dataclass
class Runner:
    """Runs trials of one sweep on one subject, which it takes back to base as needed.

    Lives in a worker and is reused. With `sharing` off every composition is computed and
    measured from scratch, stored weights and readings unread.
    """

    sweep: Sweep
    subject: Subject
    store: StageStore
    parts: Path | str
    """Folder of the table's part files, or its URL."""
    sharing: bool = True
    debug: bool = False
    """Let an exception of a method or a criterion through, in place of rows with its reason."""
    _standing: str = field(default="", init=False)
    """Fingerprint of the stage that the subject is at."""
    _small: dict[str, Intervention] = field(default_factory=dict, init=False)
    """Steps that ran out of memory here, with smaller batches."""
    _hopeless: set[str] = field(default_factory=set, init=False)
    """Steps that the smallest batches do not help."""
    _notes: list[str] = field(default_factory=list, init=False)
    _last_try: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.subject.remember_base()
        self._standing = self.sweep.planner.root.fingerprint
        self._parts = Parts(self.parts)
        self._readings = Readings(self.sweep, self.subject, self.store, self.debug)

    def run(
        self, trial: Trial, owners: Sequence[str], keep: Sequence[bool], first: int = 0, *, last_try: bool = True
    ) -> Iterator[StageReport]:
        """Yield a report when a stage's rows are on disk; for a kept stage, also when its weights are.

        `owners[i]` is the id of the trial that measures stage i, `keep[i]` whether another trial
        continues from it, so that its weights must be stored. Stages before `first` are another
        trial's. Raises OutOfMemory where smaller batches do not help, unless it is the `last_try`:
        then it is a failure like any other.
        """
        self._last_try = last_try
        if not self.sharing:
            self._readings.forget_references()
            self._back_to_base()
        if first >= len(trial.stages):
            yield self._look(trial)
            return
        blocked = self._failed_before(trial, first)
        for depth in range(first, len(trial.stages)):
            stage = trial.stages[depth]
            if blocked is not None:
                skipped = without_value(self.sweep, stage, Status.SKIPPED, blocked)
                self._publish(trial, stage, owners[depth], skipped, None)
                yield StageReport(stage, 0, False, blocked)
                continue
            for report in self._stage(trial, depth, owners[depth], keep):
                if report.failure is not None:
                    blocked = blocked_by(stage, report.failure)
                yield replace(report, notes=(*self._notes, *self.store.take_notes()))
                self._notes.clear()

    def _stage(self, trial: Trial, depth: int, owner: str, keep: Sequence[bool]) -> Iterator[StageReport]:
        stage = trial.stages[depth]
        report = self._from_store(trial, stage, owner, keep[depth]) if self.sharing else None
        if report is not None:
            yield report
            return
        applied, outcome = self._advance(trial, depth, keep)
        if outcome.failure is not None:
            failed = without_value(self.sweep, stage, Status.FAILED, outcome.failure)
            self._publish(trial, stage, owner, failed, outcome)
            yield StageReport(stage, applied, False, outcome.failure)
            return
        if keep[depth] and self.sharing:
            self._keep(stage)
            if not self._readings.lacks_references(stage):
                yield StageReport(stage, applied, False, None, complete=False)
                applied = 0
        known = self._readings.known(stage) if self.sharing else None
        if (readings := known) is None:
            readings = self._readings.measure(stage, last_try=self._last_try, anew=not self.sharing)
        self._notes += self._readings.take_notes()
        self._publish(trial, stage, owner, readings, outcome)
        yield StageReport(stage, applied, known is None, None, values=_values(readings, trial))

    def _look(self, trial: Trial) -> StageReport:
        """The report of a trial whose stages are all another's."""
        stage = trial.stages[-1]
        failure = self._failed_before(trial, len(trial.stages))
        known = self._readings.known(stage) if failure is None else None
        return StageReport(stage, 0, False, failure, values=_values(known or [], trial))

    def _failed_before(self, trial: Trial, depth: int) -> str | None:
        """Why there can be no stage at this depth, where an earlier one has failed."""
        for stage in trial.stages[:depth]:
            outcome = self.store.outcome(stage.fingerprint) if self.sharing else None
            if outcome is not None and outcome.failure is not None:
                return blocked_by(stage, outcome.failure)
        return None

    def _from_store(self, trial: Trial, stage: Stage, owner: str, keep: bool) -> StageReport | None:
        """The report of a stage that needs no computing: its rows are there, or can be written from the store."""
        outcome = self.store.outcome(stage.fingerprint)
        if outcome is not None and outcome.failure is not None:
            failed = without_value(self.sweep, stage, Status.FAILED, outcome.failure)
            self._publish(trial, stage, owner, failed, outcome)
            return StageReport(stage, 0, False, outcome.failure)
        if (keep and not self.store.has_weights(stage.fingerprint)) or self._readings.lacks_references(stage):
            return None
        if not self._parts.has(stage.fingerprint):
            known = self._readings.known(stage)
            if outcome is None or known is None:
                return None
            self._publish(trial, stage, owner, known, outcome)
        return StageReport(stage, 0, False, None)

    def _keep(self, stage: Stage) -> None:
        """Store the weights of the stage that the subject is at, unless they are there."""
        if stage.depth and not self.store.has_weights(stage.fingerprint):
            changed = self.subject.parameters_of(self.subject.changed())
            self.store.put_weights(stage.fingerprint, changed, self.subject.receipts)

    def _advance(self, trial: Trial, depth: int, keep: Sequence[bool]) -> tuple[int, Outcome]:
        """Bring the subject to a stage; returns the number of steps applied and how the last went.

        Stages on the way were stored once; where one is kept and is not there any more, it is stored again.
        """
        links = self.sweep.planner.chain(trial.composition)
        start = index = self._nearest(trial, depth, links)
        outcome = Outcome(0.0, None, None)
        if start == depth:
            fingerprint = trial.stages[depth].fingerprint
            outcome = self.store.outcome(fingerprint) or outcome
            self.store.put_outcome(fingerprint, outcome)
        while index < depth:
            stage = trial.stages[index + 1]
            try:
                outcome = self._apply(links[index], self.sweep.context(stage.replicate, stage.seed))
            except OutOfMemory as error:
                self._back_to_base(everything=True)
                release_memory()
                self._shrink(links[index], stage, error)
                index = self._nearest(trial, index, links)
                continue
            self.store.put_outcome(stage.fingerprint, outcome)
            if outcome.failure is not None:
                self._back_to_base(everything=True)
                return index + 1 - start, outcome
            self._standing = stage.fingerprint
            index += 1
            if index < depth and keep[index] and self.sharing:
                self._keep(stage)
        return depth - start, outcome

    def _shrink(self, link: Link, stage: Stage, error: OutOfMemory) -> None:
        """Use smaller batches for a step from now on; OutOfMemory where they are as small as can be."""
        tried = self._small.get(str(link), link.intervention)
        less = smaller(tried)
        if less is None:
            self._hopeless.add(str(link))
            if not self._last_try:
                raise OutOfMemory(f"{stage.chain}: {error}") from None
            return
        self._small[str(link)] = less[0]
        self._notes.append(f"{stage.chain}: out of memory, {less[1]} is tried")

    def _nearest(self, trial: Trial, depth: int, links: Sequence[Link]) -> int:
        """Load the deepest stage on the way that is at hand; returns its depth."""
        for candidate in range(depth, 0, -1):
            fingerprint = trial.stages[candidate].fingerprint
            if fingerprint == self._standing:
                return candidate
            weights = self.store.weights(fingerprint) if self.sharing else None
            if weights is not None:
                tensors, receipts = weights
                steps = zip(links, receipts, strict=False)
                self.subject.load(tensors, [Applied(link.intervention, r, link.recompression) for link, r in steps])
                self._standing = fingerprint
                return candidate
        self._back_to_base()
        return 0

    def _back_to_base(self, *, everything: bool = False) -> None:
        self.subject.restore(everything=everything)
        self._standing = self.sweep.planner.root.fingerprint

    def _apply(self, link: Link, context: Context) -> Outcome:
        start = time.perf_counter()
        failure = origin = None
        intervention = self._small.get(str(link), link.intervention)
        peak = PeakMemory(self.subject.device)
        try:
            with peak:
                self.subject.apply(intervention, context, link.recompression)
        except Exception as error:  # a failing method is a row, and the sweep goes on
            if self.debug:
                raise
            if ran_out(error) and not (self._last_try and str(link) in self._hopeless):
                raise OutOfMemory(reason_of(error)) from None
            failure, origin = reason_of(error), traceback_of(error)
        else:  # with the settings as asked for, so that a later step knows it again
            self.subject.applied[-1] = replace(self.subject.applied[-1], intervention=link.intervention)
        return Outcome(time.perf_counter() - start, peak.bytes, failure, origin)

    def _publish(
        self, trial: Trial, stage: Stage, owner: str, readings: list[Measured], outcome: Outcome | None
    ) -> None:
        publish(self.sweep, self._parts, trial, stage, owner, readings, outcome)


def _values(readings: Sequence[Measured], trial: Trial) -> dict[str, float]:
    """Values by criterion, of the trial's replicate where there are several."""
    own = [reading for reading in readings if reading.replicate in (None, trial.replicate or 0)]
    return {reading.criterion.name: reading.value for reading in own if reading.value is not None}
