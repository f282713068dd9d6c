"""Readings of a stage: measured on the subject, kept in the store, never taken twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.errors import Inapplicable, OutOfMemory
from rayci.item_values import Items
from rayci.kinds import Status
from rayci.model.peak_memory import PeakMemory
from rayci.planning.plan import Stage
from rayci.planning.sweep import Sweep
from rayci.running.asked_readings import asked, lacking
from rayci.running.batch_budget import fitted, free_memory
from rayci.running.out_of_memory import ran_out, release_memory, smaller
from rayci.running.reasons import NO_MORE, out_of_memory_for_good, reason_of, traceback_of
from rayci.running.rows import Measured
from rayci.running.stated_operations import StatedOperations
from rayci.running.timesheet import Activity, Timesheet
from rayci.storage.parts import ReadingKey
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from rayci.workload import Workload

_NO_REFERENCE = "the untouched model has no value to compare with"


@dataclass
class Readings:
    """Measures stages of one sweep; remembers the records of stage 0 that criteria compare with."""

    sweep: Sweep
    subject: Subject
    store: StageStore
    debug: bool = False
    """Let a criterion's exception through."""
    device_share: float = 1.0
    """How much of a GPU is this process's own."""
    sheet: Timesheet = field(default_factory=Timesheet)
    """Where what measuring takes is counted."""
    _references: dict[str, Sequence[Any] | None] = field(default_factory=dict, repr=False)
    _small: dict[str, Criterion] = field(default_factory=dict, init=False)
    """Criteria with batches that fit here, smaller ones where they ran out of memory."""
    _notes: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._stated = StatedOperations(self.sweep, self.subject)

    def known(self, stage: Stage, held: Collection[ReadingKey] = ()) -> list[Measured] | None:
        """All readings of a stage but those `held` from the store, or None where one is missing."""
        return stored_readings(self.sweep, self.store, stage, held)

    def lacks_references(self, stage: Stage) -> bool:
        """Whether this is the untouched model, and records that later stages compare with are not stored."""
        return bool(lost_references(self.sweep, self.store, stage))

    def measure(
        self, stage: Stage, held: Collection[ReadingKey] = (), *, no_more: str | None = NO_MORE, anew: bool = False
    ) -> list[Measured]:
        """Measure every criterion on the subject as it stands but those `held`, and store the readings.

        Readings that are stored, by a worker that was killed before the last one, are not taken
        again, unless `anew`. A criterion that fails, or says NaN, is a reading with status
        `failed`. Raises OutOfMemory where smaller batches do not help, unless `no_more` says why there is no more.
        """
        readings = []
        spared = set(held) - lost_references(self.sweep, self.store, stage)
        for criterion, replicate, fingerprint in lacking(self.sweep, stage, spared):
            reading = None if anew else _stored(self.store, stage, criterion, replicate, fingerprint)
            if reading is None:
                entry = self._measure(stage, criterion, replicate, fingerprint, no_more)
                operations = self._stated.of(criterion)
                reading = replace(_from_entry(criterion, replicate, entry), operations=operations)
            readings.append(reading)
        return readings

    def take_notes(self) -> list[str]:
        """What happened beside the readings since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def forget_references(self) -> None:
        """Start anew, as if the untouched model had not been measured."""
        self._references.clear()

    def _measure(
        self, stage: Stage, criterion: Criterion, replicate: int | None, fingerprint: str, no_more: str | None
    ) -> dict[str, Any]:
        compares = criterion.compares and stage.depth > 0
        with self.sheet.on(Activity.MEASURE) as span, PeakMemory(self.subject.device) as peak:
            context = self.sweep.context(replicate, stage.seed)
            if compares:
                context = context.with_reference(self._reference(fingerprint))
            if compares and context.reference is None:
                entry: dict[str, Any] = _without_value(_NO_REFERENCE)
            else:
                entry = self._entry(criterion, context, no_more)
        entry |= {"seconds": span.seconds, "device": self.subject.device.type, "peak_memory_bytes": peak.bytes}
        if criterion.compares and stage.depth == 0:
            self._references[fingerprint] = entry.get("records")
        else:
            entry.pop("records", None)
        with self.sheet.on(Activity.STORE):
            self.store.put_reading(stage.fingerprint, fingerprint, entry)
        return entry

    def _entry(self, criterion: Criterion, context: Context, no_more: str | None) -> dict[str, Any]:
        """A reading as plain JSON, whatever the criterion did."""
        while True:
            small = self._small.get(criterion.name) or self._fitted(criterion)
            try:
                with torch.no_grad():
                    reading = small.measure(self.subject, context)
            except Inapplicable as reason:
                return _without_value(str(reason), status=Status.SKIPPED)
            except Exception as error:  # one criterion's failure is one row
                if self.debug:
                    raise
                if not ran_out(error):
                    return _without_value(reason_of(error), traceback_of(error))
                release_memory()
                less = smaller(small)
                if less is None and no_more is not None:
                    return _without_value(out_of_memory_for_good(error, no_more), traceback_of(error))
                if less is None:
                    raise OutOfMemory(f"{criterion.name} ran out of memory: {reason_of(error)}") from None
                self._small[criterion.name] = less[0]
                self._notes.append(f"{criterion.name}: out of memory, {less[1]} is tried")
                continue
            if reading.note is not None:
                self._notes.append(f"{criterion.name}: {reading.note}")
            return _with_value(criterion, reading)

    def _fitted(self, criterion: Criterion) -> Criterion:
        """The criterion with batches that fill what the device has free."""
        free = free_memory(self.subject.device, self.device_share)
        if free is None:
            return criterion
        spec = self.sweep.spec
        return fitted(criterion, Workload(self.subject, spec.edit_batch, spec.replicates), free)

    def _reference(self, fingerprint: str) -> Sequence[Any] | None:
        """The untouched model's records of a criterion, by the criterion's fingerprint."""
        if fingerprint not in self._references:
            entry = self.store.reading(self.sweep.planner.root.fingerprint, fingerprint)
            self._references[fingerprint] = None if entry is None else entry.get("records")
        return self._references[fingerprint]


def lost_references(sweep: Sweep, store: StageStore, stage: Stage) -> set[ReadingKey]:
    """Readings of the untouched model whose records, which later stages compare with, are not stored."""
    if stage.depth:
        return set()
    return {
        (fingerprint, replicate)
        for criterion, replicate, fingerprint in asked(sweep, stage)
        if criterion.compares and store.reading(stage.fingerprint, fingerprint) is None
    }


def stored_readings(
    sweep: Sweep, store: StageStore, stage: Stage, held: Collection[ReadingKey] = ()
) -> list[Measured] | None:
    """All readings of a stage but those `held` from the store, or None where one is missing."""
    readings = []
    for criterion, replicate, fingerprint in lacking(sweep, stage, held):
        reading = _stored(store, stage, criterion, replicate, fingerprint)
        if reading is None:
            return None
        readings.append(reading)
    return readings


def _stored(
    store: StageStore, stage: Stage, criterion: Criterion, replicate: int | None, fingerprint: str
) -> Measured | None:
    """One reading from the store; None where there is none, or an entry that is no reading."""
    entry = store.reading(stage.fingerprint, fingerprint)
    try:
        return None if entry is None else replace(_from_entry(criterion, replicate, entry), seconds=0.0, operations=0.0)
    except (KeyError, TypeError, ValueError):  # another version wrote it
        return None


def _with_value(criterion: Criterion, reading: Reading) -> dict[str, Any]:
    if math.isnan(reading.value):
        return _without_value(f"{criterion.name} is NaN")
    if criterion.item and reading.items is None:
        return _without_value(f"{criterion.name} is a mean over items ({criterion.item}) and did not give them")
    stderr = None if reading.stderr is None or math.isnan(reading.stderr) else reading.stderr
    values = {"value": reading.value, "stderr": stderr, "n": reading.n, "records": reading.records}
    items = None if reading.items is None else reading.items.plain()
    return {"status": Status.OK, "reason": reading.note, **values, "items": items}


def _without_value(reason: str, traceback: str | None = None, status: Status = Status.FAILED) -> dict[str, Any]:
    empty = {"value": None, "stderr": None, "n": None, "items": None}
    return {"status": status, "reason": reason, "traceback": traceback, **empty}


def _from_entry(criterion: Criterion, replicate: int | None, entry: Mapping[str, Any]) -> Measured:
    fields = {key: value for key, value in entry.items() if key not in ("records", "status", "traceback", "items")}
    items = None if entry["items"] is None else Items.from_plain(entry["items"])
    return Measured(criterion, replicate, Status(entry["status"]), items=items, **fields)
