"""The protocol of a criterion: what is measured on a stage."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rayci.errors import RequestError
from rayci.item_values import Items
from rayci.kinds import Scale
from rayci.settings import Settings

if TYPE_CHECKING:
    from rayci.context import Context
    from rayci.data.records import Collection
    from rayci.effort import Effort
    from rayci.subject import Subject
    from rayci.workload import Workload


@dataclass(frozen=True, slots=True)
class Reading:
    """A measured value."""

    value: float
    """May be infinite; NaN is refused where rows are made."""
    n: int
    """Number of items the value is a mean of, or the sum of their weights."""
    stderr: float | None = None
    """Standard error of the mean over items; None where it has no meaning."""
    records: Sequence[Any] | None = None
    """Per-item records (JSON values); those of stage 0 reach later stages as `context.reference`."""
    items: Items | None = None
    """What each item counted, in the order of the data: the value is their mean, on a logarithmic scale its
    exponential. None where it is no mean over items."""
    note: str | None = None
    """What is to be known of the value: prompts that were cut. Stands in the row's `reason`."""


class Criterion(Settings, ABC):
    """Settings of one criterion; `measure` is called by `rayci.running.runner` after every stage."""

    scale: ClassVar[Scale]
    item: ClassVar[str | None] = None
    """What one of its items is, in a word (`question`); None where it has none, as a look at the weights."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Parts of `rayci.data.records.Collection` that `measure` reads."""
    per_edit_batch: ClassVar[bool] = False
    """Whether the value depends on the edit batch even where the stage does not."""
    compares: ClassVar[bool] = False
    """Whether `measure` needs its own records of stage 0 as `context.reference`."""
    seeded: ClassVar[bool] = False
    """Whether `measure` draws random numbers; if not, sweeps and seeds share its readings.

    The untouched model is measured with the first seed, so a criterion that `compares` must not draw.
    """

    repeatable: ClassVar[bool] = True
    """Whether measuring again gives the same value; no clock does."""

    @abstractmethod
    def measure(self, subject: Subject, context: Context) -> Reading:
        """Measure without changing the model.

        Raises MeasurementError where there is no value, Inapplicable where there is nothing to measure.
        """

    def check(self, data: Collection) -> Iterator[RequestError]:
        """What is wrong with the spec's data, all of it; called when a sweep is planned, where all of `needs` is there.

        Parts that lack are found for it.
        """
        return iter(())

    def own_data_faults(self, *, fetch: bool = True) -> Sequence[RequestError] | None:
        """What is wrong with data beside a spec's that `measure` reads; with `fetch` what is missing is fetched first.

        None where it reads no such data. Called when a sweep is planned, on the machine that runs it, before a model
        is loaded.
        """
        return None

    def scale_on(self, data: Collection) -> Scale:
        """The scale on these data, which may decide the chance level and nothing else."""
        return self.scale

    def operations(self, work: Workload) -> Effort | float:
        """Floating-point operations of `measure`, for the forecast's hours: a number, or what else it takes as well.

        A criterion that does not say: the data that it needs once through the model, or a look at the weights.
        """
        tokens = sum(work.tokens(part) for part in self.needs)
        return work.forward_operations(tokens) if self.needs else work.pass_operations()

    def memory(self, work: Workload) -> int:
        """Bytes that `measure` takes on the device beyond the model's weights, at most.

        A criterion that does not say: a forward pass with all logits, or a look at one linear after the other.
        """
        return work.reading_bytes() if self.needs else work.pass_bytes()


def mean_reading(values: Sequence[float], records: Sequence[Any] | None = None, note: str | None = None) -> Reading:
    """Mean over items with its standard error (sample deviation / √n), and the items."""
    n = len(values)
    mean = math.fsum(values) / n
    spread = math.fsum((value - mean) ** 2 for value in values)
    return Reading(mean, n, math.sqrt(spread / (n - 1) / n) if n > 1 else None, records, Items(tuple(values)), note)
