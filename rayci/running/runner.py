"""Run one composition, stage by stage: apply, measure, write the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rayci.kinds import Status
from rayci.planning.plan import Stage, Trial
from rayci.planning.sweep import Sweep
from rayci.running.asked_readings import lacking
from rayci.running.position import Position
from rayci.running.readings import Readings
from rayci.running.reasons import NO_MORE
from rayci.running.rows import Measured, blocked_by, publish, without_value
from rayci.running.timesheet import Activity, Timesheet
from rayci.storage.parts import Parts
from rayci.storage.stages import Outcome, StageStore
from rayci.subject import Subject


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
    results: Path | str
    """Folder where `table/` and `items/` are written, or its URL."""
    sharing: bool = True
    debug: bool = False
    """Let an exception of a method or a criterion through, in place of rows with its reason."""
    device_share: float = 1.0
    """How much of a GPU is this process's own: batches of criteria fill what is free of it."""
    sheet: Timesheet = field(default_factory=Timesheet)
    """What the worker has done since it started; the rows take it over."""
    _no_more: str | None = field(default=NO_MORE, init=False)

    def __post_init__(self) -> None:
        with self.sheet.on(Activity.LOAD):
            self._position = Position(self.sweep, self.subject, self.store, self.sharing, self.debug, self.sheet)
        self._parts = Parts(self.results)
        self._readings = Readings(self.sweep, self.subject, self.store, self.debug, self.device_share, self.sheet)

    def run(
        self,
        trial: Trial,
        owners: Sequence[str],
        keep: Sequence[bool],
        first: int = 0,
        *,
        no_more: str | None = NO_MORE,
    ) -> Iterator[StageReport]:
        """Yield a report when a stage's rows are on disk; for a kept stage, also when its weights are.

        `owners[i]` is the id of the trial that measures stage i, `keep[i]` whether another trial
        continues from it, so that its weights must be stored. Stages before `first` are another
        trial's. Raises OutOfMemory where smaller batches do not help, unless `no_more` says why the
        trial gets no more memory: then it is a failure like any other, with those words.
        """
        self._no_more = no_more
        if not self.sharing:
            self._readings.forget_references()
            self._position.to_base()
        if first >= len(trial.stages):
            yield self._look(trial)
            return
        refusals = self._position.refusals(trial, first)
        blocked = self._failed_before(trial, first)
        for depth in range(first, len(trial.stages)):
            stage = trial.stages[depth]
            self.sheet.work_was_load()
            if blocked is not None:
                skipped = without_value(self.sweep, stage, Status.SKIPPED, blocked)
                self._publish(trial, stage, owners[depth], skipped, None)
                yield StageReport(stage, 0, False, blocked)
                continue
            for report in self._stage(trial, depth, owners[depth], keep, refusals.get(depth)):
                if report.failure is not None:
                    blocked = blocked_by(stage, report.failure)
                yield replace(report, notes=self._take_notes())

    def _take_notes(self) -> tuple[str, ...]:
        return *self._position.take_notes(), *self._readings.take_notes(), *self.store.take_notes()

    def _stage(
        self, trial: Trial, depth: int, owner: str, keep: Sequence[bool], refusal: str | None
    ) -> Iterator[StageReport]:
        stage = trial.stages[depth]
        report = self._from_store(trial, stage, owner, keep[depth]) if self.sharing else None
        if report is not None:
            yield report
            return
        if refusal is None:
            applied, outcome = self._position.reach(trial, depth, keep, no_more=self._no_more)
        else:
            applied, outcome = 0, Outcome(0.0, None, refusal)
            self.store.put_outcome(stage.fingerprint, outcome)
        if outcome.failure is not None:
            failed = without_value(self.sweep, stage, Status.FAILED, outcome.failure)
            self._publish(trial, stage, owner, failed, outcome)
            yield StageReport(stage, applied, False, outcome.failure)
            return
        if keep[depth] and self.sharing:
            self._position.keep(stage)
            if not self._readings.lacks_references(stage):
                yield StageReport(stage, applied, False, None, complete=False)
                applied = 0
        held = self._parts.held(stage.fingerprint)
        complete = self.sharing and not self._readings.lacks_references(stage)
        known = self._readings.known(stage, held) if complete else None
        if (readings := known) is None:
            readings = self._readings.measure(stage, held, no_more=self._no_more, anew=not self.sharing)
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
        held = self._parts.held(stage.fingerprint)
        if lacking(self.sweep, stage, held):
            known = self._readings.known(stage, held)
            if outcome is None or known is None:
                return None
            self._publish(trial, stage, owner, known, outcome)
        return StageReport(stage, 0, False, None)

    def _publish(
        self, trial: Trial, stage: Stage, owner: str, readings: list[Measured], outcome: Outcome | None
    ) -> None:
        with self.sheet.on(Activity.STORE):
            publish(self.sweep, self._parts, trial, stage, owner, readings, outcome, self.sheet)


def _values(readings: Sequence[Measured], trial: Trial) -> dict[str, float]:
    """Values by criterion, of the trial's replicate where there are several."""
    own = [reading for reading in readings if reading.replicate in (None, trial.replicate or 0)]
    return {reading.criterion.name: reading.value for reading in own if reading.value is not None}
