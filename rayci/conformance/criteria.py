"""The rules of a criterion, as a pytest base class."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayci.conformance.bench import (
    Snapshot,
    fresh_testbed,
    global_streams,
    once_a_class,
    only,
    small_context,
    streams_used,
)
from rayci.conformance.cost_rules import CostRules
from rayci.conformance.emulated_device import on_a_device
from rayci.conformance.settings_rules import SettingsRules, with_value
from rayci.conformance.wrapped import unidentified, watching
from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.data.records import PARTS
from rayci.errors import MeasurementError, RequestError
from rayci.item_values import Items
from rayci.kinds import Scale
from rayci.settings import Settings
from rayci.subject import Subject


class CriterionConformance(SettingsRules, CostRules):
    """Subclass it as `Test…` and define `make`."""

    def make(self) -> Criterion:
        """The criterion under test, with settings that keep it quick."""
        raise NotImplementedError(f"{type(self).__name__} must define make()")

    def subject(self) -> Subject:
        """A fresh subject, the same each time, on which the criterion has a value."""
        return fresh_testbed()

    def context(self) -> Context:
        """Data and seeds, the same each time."""
        return small_context()

    def test_it_is_declared(self) -> None:
        """Name, scale and needs fit the class."""
        made = self.make()
        assert made.name, "no name"
        assert isinstance(made.scale, Scale), f"scale is {made.scale!r}"
        assert made.version >= 1, f"version is {made.version}"
        strange = made.needs - set(PARTS)
        assert not strange, f"needs names no part of a Collection: {sorted(strange)}"
        assert not (made.compares and made.seeded), "the untouched model is measured once, so what compares cannot draw"

    @once_a_class
    def measured(self) -> tuple[Reading, Snapshot, Snapshot, int, tuple[Settings, ...]]:
        """A reading, the model before and after it, the steps that it added, other criteria that ran."""
        made, subject, context = self.make(), self.subject(), self.context()
        before, steps = Snapshot.of(subject), [id(step.intervention) for step in subject.applied]
        reading, others = watching(made, lambda: made.measure(subject, context))
        strangers = tuple(other for other in others if id(other) not in steps)  # the stage's own steps identify it
        return reading, before, Snapshot.of(subject), len(subject.applied) - len(steps), strangers

    def test_the_reading_is_sound(self) -> None:
        """A value in the declared range, of n > 0 items, with a standard error that is not negative."""
        reading = self.measured()[0]
        _check(self.make(), reading)
        assert reading.stderr is None or reading.stderr >= 0, f"stderr is {reading.stderr}"

    def test_items_make_the_value(self) -> None:
        """Who says what an item is gives them: their weights sum to n, their mean, or its exponential, is the value."""
        made, reading = self.make(), self.measured()[0]
        assert (made.item is None) == (reading.items is None), f"item is {made.item!r}, items are {reading.items!r:.40}"
        if reading.items is None:
            return
        counted = math.fsum(reading.items.weights or [1.0] * len(reading.items.values))
        assert counted == reading.n, f"n is {reading.n}, the items are {counted:g}"
        mean = math.exp(reading.items.mean) if made.scale.logarithmic else reading.items.mean
        assert math.isclose(mean, reading.value, rel_tol=1e-9, abs_tol=1e-12), f"{reading.value} is no mean of {mean}"

    def test_a_ruined_model_gives_no_nan(self) -> None:
        """NaN weights are a MeasurementError or a value that still is in the range."""
        made, subject = self.make(), self.subject()
        with torch.no_grad():
            for parameter in subject.model.parameters():
                parameter.fill_(math.nan)
        try:
            reading = made.measure(subject, self.context())
        except MeasurementError:
            return
        _check(made, reading)

    def test_the_model_is_left_as_found(self) -> None:
        """Measuring changes no bit, no mode, no flag."""
        _, before, after, steps, _ = self.measured()
        assert not before.differing(after), f"measuring changed {before.differing(after)[:3]}"
        assert after.training == before.training, "left in train mode"
        assert after.flags == before.flags, "requires_grad flags changed"
        assert after.hooked == before.hooked, f"hooks left on {after.hooked}"
        assert after.use_cache == before.use_cache, "use_cache changed"
        assert not steps, "measuring added an applied step"

    def test_measuring_twice_gives_the_same(self) -> None:
        """And global random streams are neither used nor read. What is not `repeatable` need not be equal."""
        with global_streams(seed=1):
            before = streams_used()
            again = self.make().measure(self.subject(), self.context())
            assert streams_used() == before, "a global random stream was used"
        assert self._equal(again, self.measured()[0]), "two measurements differ"

    def test_it_computes_where_the_model_is(self) -> None:
        """A GPU refuses tensors that lie elsewhere; on an emulated one the value is that of the CPU."""
        base, subject = self.measured()[0], self.subject()
        with on_a_device(subject):
            far = self.make().measure(subject, self.context())
        close = math.isclose(far.value, base.value, rel_tol=1e-4, abs_tol=1e-6)
        assert close or not self.make().repeatable, f"the value goes from {base.value:g} on the CPU to {far.value:g}"

    def test_records_are_json(self) -> None:
        """Records of stage 0 are stored and handed to later stages."""
        records = self.measured()[0].records
        if records is not None:
            assert json.loads(json.dumps(list(records))) == list(records), "records do not survive JSON"

    def test_every_setting_is_read(self) -> None:
        """A setting changes the value, or is `Speed`, or is listed in `unread` with a reason."""
        made, subject, context = self.make(), self.subject(), self.context()
        base = self.measured()[0]
        for field, value in self.other_values.items():
            other = with_value(made, field, value)
            reset = other.measure(subject, context)
            if field in made.speed_fields():
                close = math.isclose(reset.value, base.value, rel_tol=1e-4)
                assert close, f"{field} is marked Speed, but the value goes from {base.value:g} to {reset.value:g}"
                continue
            differs = (reset.value, reset.n) != (base.value, base.n)
            assert differs or field in self.unread, f"{field} = {value!r} does not change the value: is it read?"
            if differs:
                assert other.effective() != made.effective(), f"{field} changes the value but not effective()"

    def test_seeds_matter_only_where_declared(self) -> None:
        """`seeded = False` lets sweeps and seeds of a stage share a reading."""
        made, context = self.make(), self.context()
        if not made.seeded:
            again = made.measure(self.subject(), replace(context, seed=context.seed + 1))
            assert self._equal(again, self.measured()[0]), "seeded = False, but another seed gives another value"

    def test_criteria_that_it_runs_are_in_its_identity(self) -> None:
        """A reading of a wrapper is another one when a wrapped criterion's version or settings are."""
        missing = unidentified(self.make(), self.measured()[-1])
        assert not missing, f"runs {', '.join(missing)}, which `wraps` does not name: identity() stays when it changes"

    def test_declared_needs_are_complete(self) -> None:
        """With every other part of the data empty, the value is the same."""
        made, subject, context = self.make(), self.subject(), self.context()
        try:
            bare = made.measure(subject, replace(context, data=only(context.data, made.needs)))
        except Exception as error:
            raise AssertionError(f"fails with {sorted(made.needs)} alone: {error!r}") from error
        assert self._equal(bare, self.measured()[0]), "the value depends on data that `needs` does not name"

    def test_missing_data_is_refused(self) -> None:
        """An empty part that is needed is a wrong request."""
        made, subject, context = self.make(), self.subject(), self.context()
        for part in sorted(made.needs):
            lacking: dict[str, Any] = {part: ()}
            with pytest.raises(RequestError):
                made.measure(subject, replace(context, data=replace(context.data, **lacking)))

    def test_the_reference_is_read_where_declared(self) -> None:
        """`compares` criteria judge a changed model by the records of stage 0, others never see them."""
        made, context, subject = self.make(), self.context(), self.subject()
        _scramble(subject)
        if not made.compares:
            stray = made.measure(subject, context.with_reference([object()]))
            assert self._equal(stray, made.measure(subject, context)), "reads the reference, but compares = False"
            return
        untouched = self.measured()[0]
        assert untouched.records is not None, "compares = True, but there are no records to compare with"
        itself = made.measure(subject, context)
        far = made.measure(subject, context.with_reference(untouched.records))
        near = made.measure(subject, context.with_reference(itself.records))
        assert far.value != near.value, "compares = True, but the reference does not matter"

    def _equal(self, one: Reading, other: Reading) -> bool:
        """Whether two readings that should be equal are; nothing is expected of a clock."""
        return not self.make().repeatable or _plain(one) == _plain(other)


def _check(made: Criterion, reading: Reading) -> None:
    value, scale = reading.value, made.scale
    assert not math.isnan(value), "the value is NaN: raise MeasurementError instead"
    assert scale.low is None or value >= scale.low, f"{value:g} is below {scale.low:g}"
    assert scale.high is None or value <= scale.high, f"{value:g} is above {scale.high:g}"
    assert reading.n > 0, f"n is {reading.n}"


def _plain(reading: Reading) -> tuple[float, int, float | None, list[Any] | None, Items | None]:
    records = None if reading.records is None else list(reading.records)
    return reading.value, reading.n, reading.stderr, records, reading.items


@torch.no_grad()
def _scramble(subject: Subject) -> None:
    """Other weights of the same size: the model says something else."""
    for _, module in subject.linears():
        module.weight.copy_(module.weight.roll(1, dims=0))
