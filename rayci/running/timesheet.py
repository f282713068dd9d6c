"""Where a worker's seconds go: it is always doing exactly one thing, so that each second counts once."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum, auto


class Activity(StrEnum):
    """What a worker does; what each is in full, `rayci.table.schema` says."""

    LOAD = auto()
    APPLY = auto()
    MEASURE = auto()
    STORE = auto()
    IDLE = auto()


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a worker spent on a stage: the columns that all rows of one visit share. Null where no worker came."""

    load_seconds: float | None = None
    apply_seconds: float | None = None
    store_seconds: float | None = None
    idle_seconds: float | None = None
    apply_operations: float | None = None
    device_rate: float | None = None


@dataclass
class Span:
    """One stretch of an activity."""

    seconds: float = 0.0
    """Its length, once it is over; what was done inside for another activity counts there."""


@dataclass
class Timesheet:
    """One worker's, from its start on. Idle where nothing else is said; activities nest, the inner one counts."""

    device_rate: float | None = None
    """Operations a second of what the worker has, as in the table."""
    now: Callable[[], float] = time.perf_counter
    _seconds: defaultdict[Activity, float] = field(default_factory=lambda: defaultdict(float), init=False)
    _operations: float | None = field(default=0.0, init=False)
    """Of what was applied; None where a method does not say."""
    _doing: Activity = field(default=Activity.IDLE, init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.now()

    @contextmanager
    def on(self, activity: Activity) -> Iterator[Span]:
        """Count what is done inside as this activity, up to where GPUs have done what they were given inside."""
        span, before = Span(), self._doing
        _finish()
        self._stamp()
        self._doing, start = activity, self._seconds[activity]
        try:
            yield span
            _finish()
        finally:
            self._stamp()
            self._doing = before
            span.seconds = self._seconds[activity] - start

    def applied(self, operations: float | None) -> None:
        """Say what the seconds of applying were spent on."""
        self._operations = operations

    def work_was_load(self) -> None:
        """Count what was applied and measured since the last visit as load: it led to where the subject stands."""
        self._to_load(Activity.APPLY)
        self._to_load(Activity.MEASURE)
        self._operations = 0.0

    def visit(self, measured: float) -> Visit:
        """Everything since the last visit; `measured` of it are the seconds of readings whose rows are written now."""
        self._stamp()
        self._seconds[Activity.MEASURE] = max(0.0, self._seconds[Activity.MEASURE] - measured)
        self._to_load(Activity.MEASURE)
        spent, self._seconds = self._seconds, defaultdict(float)
        operations, self._operations = self._operations, 0.0
        return Visit(
            load_seconds=spent[Activity.LOAD],
            apply_seconds=spent[Activity.APPLY],
            store_seconds=spent[Activity.STORE],
            idle_seconds=spent[Activity.IDLE],
            apply_operations=operations,
            device_rate=self.device_rate,
        )

    def _stamp(self) -> None:
        now = self.now()
        self._seconds[self._doing] += now - self._since
        self._since = now

    def _to_load(self, activity: Activity) -> None:
        self._seconds[Activity.LOAD] += self._seconds.pop(activity, 0.0)


def _finish() -> None:
    """Wait until GPUs have done what they were given, in a process that uses them."""
    torch = sys.modules.get("torch")  # a worker keeps time before torch is loaded
    if torch is not None and torch.cuda.is_initialized():
        for gpu in range(torch.cuda.device_count()):
            if torch.cuda.memory_reserved(gpu):  # on any other, asking would take memory for a context
                torch.cuda.synchronize(gpu)
