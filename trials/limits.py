"""When a run hands out no more trials: money, hours or a point in time, each kept by what trials are foreseen to take.

A trial is handed out only where it ends in time by its forecast, which the trials that have ended correct.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from datetime import time as time_of_day

from rayci.errors import RequestError
from rayci.planning.resources import Resources
from rayci.trials.knobs import Knobs
from rayci.units import HOUR, hours


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one command may take; None where nothing is said."""

    cost: float | None = None
    """USD, counted as `rayci plan` does: GPU-hours that trials reserve times their price."""
    hours: float | None = None
    """Hours from the start."""
    deadline: float | None = None
    """When all is to be done, seconds since 1970."""
    price: float | None = None
    """USD a GPU-hour."""

    @property
    def limiting(self) -> bool:
        """Whether anything is limited; a price alone limits nothing."""
        return (self.cost, self.hours, self.deadline) != (None, None, None)

    @classmethod
    def of(cls, knobs: Knobs, resources: Resources) -> Limits:
        """Those of a command; RequestError for one that cannot be kept, or that leaves nothing to do."""
        cost, price = knobs.max_cost, resources.gpu_hour_price
        for option, value in (("--max-cost", cost), ("--max-hours", knobs.max_hours)):
            if value is not None and not 0 < value < math.inf:
                raise RequestError(f"{option} {value:g}", at=option, allowed="a number above 0")
        if cost is not None and resources.gpus == 0:
            raise RequestError("no trial reserves a GPU, and nothing else costs", at="--max-cost", hint="--max-hours")
        if cost is not None and price is None:
            raise RequestError("no GPU has a price", at="--max-cost", hint="--set resources.gpu_hour_price=2.5")
        deadline = None if knobs.deadline is None else time_of(knobs.deadline, datetime.now().astimezone()).timestamp()
        return cls(cost=cost, hours=knobs.max_hours, deadline=deadline, price=price)


UNLIMITED = Limits()


def time_of(text: str, now: datetime) -> datetime:
    """`2026-12-01T08:00`, or `08:00` for when it is that late next; without an offset in the time zone of `now`.

    RequestError where it cannot be read, or is over.
    """
    said = f"--deadline {text}"
    try:
        if "-" not in text:
            today = datetime.combine(now.date(), time_of_day.fromisoformat(text), now.tzinfo)
            return today if today > now else today + timedelta(days=1)
        when = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(said, at="--deadline", allowed="2026-12-01T08:00, or 08:00") from None
    when = when if when.tzinfo else when.replace(tzinfo=now.tzinfo)
    if when <= now:
        raise RequestError(f"{said} is over", at="--deadline", allowed="a time to come")
    return when


@dataclass
class Budget:
    """What a run has spent and what its running trials will; it admits those that stay within the limits."""

    limits: Limits
    foreseen: Callable[[int], float]
    """Seconds that a trial is thought to take, by its index in the plan."""
    gpus: Callable[[int], float]
    """GPUs that it reserves."""
    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    spent: float = field(default=0.0, init=False)
    """GPU-seconds of trials that have ended."""
    _running: set[int] = field(default_factory=set, init=False)
    _foreseen: float = field(default=0.0, init=False)
    _taken: float = field(default=0.0, init=False)
    """Seconds foreseen, and seconds taken, of the trials that have come to their last stage."""

    def __post_init__(self) -> None:
        self._start = self.now()

    def admits(self, index: int) -> bool:
        """Whether a trial that is handed out now stays within every limit."""
        seconds, limits = self._expected(index), self.limits
        if self._end is not None and self.now() + seconds > self._end:
            return False
        if limits.cost is None or limits.price is None:
            return True
        promised = sum(self.gpus(trial) * self._expected(trial) for trial in self._running)
        return (self.spent + promised + self.gpus(index) * seconds) * limits.price / HOUR <= limits.cost

    def begin(self, index: int) -> None:
        """A trial was handed out."""
        self._running.add(index)

    def take_back(self, index: int) -> None:
        """It has not begun, and will not."""
        self._running.discard(index)

    def end(self, index: int, seconds: float | None, *, whole: bool) -> None:
        """It has ended after so many seconds of work; None where nobody has counted them.

        One that did not come `whole` to its last stage, out of memory say, costs what it took and tells no pace.
        """
        self._running.discard(index)
        taken = self._expected(index) if seconds is None else seconds
        self.spent += self.gpus(index) * taken
        if whole and seconds is not None:
            self._foreseen += self.foreseen(index)
            self._taken += seconds

    @property
    def _end(self) -> float | None:
        last = None if self.limits.hours is None else self._start + self.limits.hours * HOUR
        ends = [end for end in (last, self.limits.deadline) if end is not None]
        return min(ends, default=None)

    def _expected(self, index: int) -> float:
        """Seconds that a trial will take, at the pace of those that have ended."""
        pace = self._taken / self._foreseen if self._foreseen > 0 else 1.0
        return self.foreseen(index) * pace

    def left(self, trials: Sequence[int]) -> str:
        """What is said of trials that were held back."""
        taken = hours(sum(map(self._expected, trials)) / HOUR)
        gpu_hours = sum(self.gpus(index) * self._expected(index) for index in trials) / HOUR
        work = f"{gpu_hours:.3g} GPU-hours" if gpu_hours else f"{taken} of work"
        cost = "" if self.limits.price is None or not gpu_hours else f", {gpu_hours * self.limits.price:.2f} USD"
        return f"{len(trials)} trials are left that would not have ended within the limit: about {work}{cost}"
