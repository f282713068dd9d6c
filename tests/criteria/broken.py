"""A correct tiny criterion and variants that break one rule each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch

from rayci.context import Context
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.errors import DataError, MeasurementError
from rayci.item_values import Items
from rayci.kinds import Direction, Scale
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload


class Spread(Criterion):
    """Share of positive weights times the number of evaluation texts: keeps every rule."""

    name: ClassVar[str] = "spread"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "")
    needs: ClassVar[frozenset[str]] = frozenset({"evaluation"})

    power: float = 1.0
    """Exponent of the share."""
    forward_batch: ForwardBatch = 2
    """Weights looked at together."""

    def measure(self, subject: Subject, context: Context) -> Reading:
        if not context.data.evaluation:
            raise DataError("spread: no texts")
        values = [module.weight.sum(1) for _, module in subject.linears()]
        if any(bool(value.isnan().any()) for value in values):
            raise MeasurementError("spread: NaN")
        shares = [float((value[: len(value) // 2] > 0).double().mean()) for value in values]
        mean = sum(shares) / len(shares)
        return Reading(mean**self.power * len(context.data.evaluation), len(shares), 0.1, shares)


class Unread(Spread):
    ignored: int = 1
    """Never looked at."""


class SpeedThatCounts(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return _changed(super().measure(subject, context), lambda value: value + self.forward_batch)


class HidesASetting(Spread):
    def effective(self) -> dict[str, Any]:
        return {}


class ComputesOnTheCpu(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        weight = next(subject.model.parameters())
        share = float((weight * torch.ones(weight.shape) > 0).double().mean())
        return _changed(super().measure(subject, context), lambda value: value + share)


class ChangesAWeight(Spread):
    @torch.no_grad()
    def measure(self, subject: Subject, context: Context) -> Reading:
        next(subject.model.parameters())[0, 0] += 1
        return super().measure(subject, context)


class LeavesTrainMode(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        subject.model.train()
        return super().measure(subject, context)


class GlobalRandom(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return _changed(super().measure(subject, context), lambda value: value + 1e-9 * float(torch.rand(())))


class GivesNaN(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        try:
            return super().measure(subject, context)
        except MeasurementError:
            return Reading(math.nan, 1)


class OutOfRange(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return _changed(super().measure(subject, context), lambda value: -value)


class OfNothing(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return replace(super().measure(subject, context), n=0)


class NegativeError(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return replace(super().measure(subject, context), stderr=-0.1)


class RecordsTensors(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return replace(super().measure(subject, context), records=[(1, 2)])


class ReadsUndeclaredData(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return _changed(super().measure(subject, context), lambda value: value + len(context.data.retain))


class NeverRefuses(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return super().measure(subject, context) if context.data.evaluation else Reading(0.0, 1)


class ComparesWithNothing(Spread):
    compares: ClassVar[bool] = True


class ComparesInSecret(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        extra = 0 if context.reference is None else len(context.reference)
        return _changed(super().measure(subject, context), lambda value: value + extra)


class ReadsTheSeed(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return _changed(super().measure(subject, context), lambda value: value + context.random("spread").random())


class SaysThatItDraws(ReadsTheSeed):
    """Keeps every rule."""

    seeded: ClassVar[bool] = True


class ComparesDraws(Spread):
    seeded: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def measure(self, subject: Subject, context: Context) -> Reading:
        extra = 0 if context.reference is None else math.fsum(context.reference)
        return _changed(super().measure(subject, context), lambda value: value + extra)


class Other(Spread):
    """What the wrapper below runs."""

    name: ClassVar[str] = "other"


class HidesWhatItRuns(Spread):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return Other(power=self.power, forward_batch=self.forward_batch).measure(subject, context)


class Shares(Spread):
    """Mean over the linears: keeps every rule, and has items."""

    item: ClassVar[str | None] = "linear"

    def measure(self, subject: Subject, context: Context) -> Reading:
        reading = super().measure(subject, context)
        return mean_reading([share**self.power for share in reading.records or ()], reading.records)


class KeepsItemsBack(Shares):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return replace(super().measure(subject, context), items=None)


class DoesNotNameItems(Shares):
    item: ClassVar[str | None] = None


class ItemsOfSomethingElse(Shares):
    def measure(self, subject: Subject, context: Context) -> Reading:
        reading = super().measure(subject, context)
        return replace(reading, items=Items((0.0,) * reading.n))


class LosesAnItem(Shares):
    def measure(self, subject: Subject, context: Context) -> Reading:
        return replace(super().measure(subject, context), n=99)


def _changed(reading: Reading, change: Any) -> Reading:
    return replace(reading, value=change(reading.value))


class CostsNothing(Spread):
    def operations(self, work: Workload) -> float:
        return 0.0


CRITERIA: dict[type[Spread], set[str]] = {
    Spread: set(),
    Unread: {"test_every_setting_is_read"},
    SpeedThatCounts: {"test_every_setting_is_read"},
    HidesASetting: {"test_every_setting_is_read", "test_effective_settings_are_all_but_speed"},
    ComputesOnTheCpu: {"test_it_computes_where_the_model_is"},
    ChangesAWeight: {"test_the_model_is_left_as_found"},
    LeavesTrainMode: {"test_the_model_is_left_as_found"},
    GlobalRandom: {
        "test_measuring_twice_gives_the_same",
        "test_seeds_matter_only_where_declared",
        "test_declared_needs_are_complete",
        "test_the_reference_is_read_where_declared",
    },
    GivesNaN: {"test_a_ruined_model_gives_no_nan"},
    OutOfRange: {"test_the_reading_is_sound"},
    OfNothing: {"test_the_reading_is_sound"},
    NegativeError: {"test_the_reading_is_sound"},
    RecordsTensors: {"test_records_are_json"},
    ReadsUndeclaredData: {"test_declared_needs_are_complete"},
    NeverRefuses: {"test_missing_data_is_refused"},
    ComparesWithNothing: {"test_the_reference_is_read_where_declared"},
    ComparesInSecret: {"test_the_reference_is_read_where_declared"},
    ReadsTheSeed: {"test_seeds_matter_only_where_declared"},
    SaysThatItDraws: set(),
    ComparesDraws: {"test_it_is_declared"},
    CostsNothing: {"test_what_it_costs_is_finite_positive_and_grows_with_the_texts"},
    Shares: set(),
    KeepsItemsBack: {"test_items_make_the_value"},
    DoesNotNameItems: {"test_items_make_the_value"},
    ItemsOfSomethingElse: {"test_items_make_the_value"},
    LosesAnItem: {"test_items_make_the_value"},
    HidesWhatItRuns: {"test_criteria_that_it_runs_are_in_its_identity"},
}
"""Criterion -> exactly the rules that must reject it."""
