"""The rules of an intervention, as a pytest base class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from rayci.conformance.bench import (
    BuiltAnew,
    Snapshot,
    fresh_testbed,
    global_streams,
    once_a_class,
    only,
    small_context,
    streams_used,
)
from rayci.conformance.check_rules import CheckRules
from rayci.conformance.cost_rules import CostRules
from rayci.conformance.emulated_device import FIRST, on_a_device
from rayci.conformance.settings_rules import SettingsRules, with_value
from rayci.conformance.wrapped import unidentified, watching
from rayci.context import Context
from rayci.data.records import PARTS
from rayci.intervention import Compressor, Intervention, Receipt
from rayci.kinds import Kind
from rayci.settings import Settings
from rayci.subject import Subject
from rayci.workload import Workload

BESIDE = 1024
"""Bytes that may lie there beside what is said: texts and counts, which no shape tells."""


@dataclass(frozen=True)
class Application:
    """One application to a fresh subject, for the rules that only look at what it did."""

    before: Snapshot
    after: Snapshot
    gradients: tuple[str, ...]
    """Parameters that were left with a gradient."""
    receipt: Receipt
    others: tuple[Settings, ...] = ()
    """Other methods whose code ran."""
    built: int = 0
    """Bytes of what was left with `Context.built`."""


class InterventionConformance(SettingsRules, CostRules, CheckRules):
    """Subclass it as `Test…` and define `make`; compressors take `CompressorConformance`."""

    ties: ClassVar[float] = 1e-4
    """Share of the weights that another batch size of forward-only work may change: sums in
    another order break ties of a sort or a rounding the other way."""
    kernels: ClassVar[float] = 0.05
    """Share of the changed weights that the kernels of another device may change differently: a rounding
    that goes the other way is carried on by methods that compensate for it."""

    def make(self) -> Intervention:
        """The intervention under test, with settings that keep it quick."""
        raise NotImplementedError(f"{type(self).__name__} must define make()")

    def subject(self) -> Subject:
        """A fresh subject, the same each time."""
        return fresh_testbed()

    def context(self) -> Context:
        """Data and seeds, the same each time."""
        return small_context()

    def applied(self, intervention: Intervention, context: Context) -> Snapshot:
        """The model after one application to a fresh subject."""
        subject = self.subject()
        subject.apply(intervention, context)
        return Snapshot.of(subject)

    @once_a_class
    def as_a_step(self) -> Application:
        """What `make()` does as a step of a chain, through its subject."""
        subject = self.subject()
        before = Snapshot.of(subject)
        made, objects = self.make(), BuiltAnew()
        context = replace(self.context(), objects=objects)
        receipt, others = watching(made, lambda: subject.apply(made, context))
        return replace(_application(subject, before, receipt), others=others, built=objects.nbytes)

    @once_a_class
    def by_itself(self) -> Application:
        """What `apply` does where no subject tidies up after it."""
        subject = self.subject()
        before = Snapshot.of(subject)
        receipt = self.make().apply(subject, self.context())
        return _application(subject, before, receipt)

    def test_it_is_declared(self) -> None:
        """Name, kind, γ, needs and presets fit the class."""
        made = self.make()
        assert made.name, "no name"
        assert isinstance(made.kind, Kind), f"kind is {made.kind!r}"
        assert made.version >= 1, f"version is {made.version}"
        strange = made.needs - set(PARTS)
        assert not strange, f"needs names no part of a Collection: {sorted(strange)}"
        if made.strength is not None:
            assert made.strength.name in type(made).model_fields, f"there is no setting {made.strength.name!r}"
            assert made.gamma is not None
            assert made.strength.low <= made.gamma <= made.strength.high, f"γ = {made.gamma} is out of its own range"
        for name, preset in made.presets.items():
            assert type(made).model_validate({**made.model_dump(), **preset}), f"preset {name} is not valid"

    def test_compressors_take_their_own_suite(self) -> None:
        """Re-compression has rules of its own."""
        if isinstance(self.make(), Compressor):
            suites = [base.__name__ for base in type(self).__mro__]
            assert "CompressorConformance" in suites, "a Compressor must pass CompressorConformance"

    def test_the_receipt_names_all_that_changed(self) -> None:
        """Storage and `restore` copy the named parameters only."""
        step = self.as_a_step()
        strange = set(step.receipt.changed) - step.before.flags.keys()
        assert not strange, f"the receipt names no parameters: {sorted(strange)}"
        changed = step.before.differing(step.after)
        hidden = set(changed) - set(step.receipt.changed)
        assert not hidden, f"changed, but not in the receipt: {sorted(hidden)}"
        assert changed, "nothing changed on this subject: the other rules would hold for anything"

    def test_the_receipt_can_be_stored(self) -> None:
        """Counts are finite numbers, kept values tensors."""
        receipt = self.as_a_step().receipt
        bad = {name: count for name, count in receipt.counts.items() if not math.isfinite(count)}
        assert not bad, f"counts are not finite: {bad}"
        assert all(isinstance(value, torch.Tensor) for value in receipt.kept.values()), "kept holds no tensors"

    def test_what_it_leaves_on_disk_is_no_more_than_it_says(self) -> None:
        """A plan of a sweep adds up `kept_bytes` and `built_bytes`; others wait for a trial whose method `builds`."""
        made, step, subject = self.make(), self.as_a_step(), self.subject()
        kept = sum(value.nbytes for value in step.receipt.kept.values())
        work = Workload(subject, edits=self.context().batch_size)
        said = made.kept_bytes(subject) + made.kept_of_edits(work)
        assert kept <= said + BESIDE, f"the receipt keeps {kept} bytes, kept_bytes and kept_of_edits say {said}"
        assert made.builds == (step.built > 0), f"builds = {made.builds}, and {step.built} bytes were built"
        foreseen = made.built_bytes(work)
        assert step.built <= foreseen + BESIDE, f"{step.built} bytes were built, built_bytes says {foreseen}"

    def test_the_weights_are_finite(self) -> None:
        """A stage with NaN or infinite weights measures nothing."""
        after = self.by_itself().after
        bad = [name for name in after.flags if not bool(torch.isfinite(after.tensors[name]).all())]
        assert not bad, f"not finite: {bad}"

    def test_the_model_is_left_as_found(self) -> None:
        """Mode, dtypes, `use_cache` and hooks are left by `apply` itself, flags and gradients by the subject."""
        before, after = self.by_itself().before, self.by_itself().after
        assert not after.training, f"left in train mode: {after.training[:3]}"
        assert after.dtypes == before.dtypes, "dtypes changed"
        assert after.use_cache == before.use_cache, "use_cache changed"
        assert after.hooked == before.hooked, f"hooks left on {after.hooked}"

    def test_flags_and_gradients_are_clean_after_a_step(self) -> None:
        """Nothing of a training is left for the next step."""
        step = self.as_a_step()
        assert step.after.flags == step.before.flags, "requires_grad flags changed"
        assert not step.gradients, f"gradients left on {step.gradients[:3]}"

    def test_equal_fingerprints_give_equal_bits(self) -> None:
        """The same settings, data and seed on a fresh subject."""
        differing = self.as_a_step().after.differing(self.by_itself().after)
        assert not differing, f"two runs differ in {differing[:3]}"

    def test_global_random_streams_are_neither_used_nor_read(self) -> None:
        """Draws come from the context's streams."""
        made, subject, context = self.make(), self.subject(), self.context()
        with global_streams(seed=1):
            before = streams_used()
            subject.apply(made, context)
            used = [name for name, then in zip(streams_used(), before, strict=True) if name != then]
        assert not used, f"drawn from or seeded: {[name.rsplit(' ', 1)[0] for name in used]}"
        elsewhere = self.as_a_step().after.differing(Snapshot.of(subject))
        assert not elsewhere, "the result depends on the global random state"

    def test_it_computes_where_the_model_is(self) -> None:
        """A GPU refuses tensors that lie elsewhere; on an emulated one the result is that of the CPU."""
        at_home = self.as_a_step()
        changed = at_home.after.distance(at_home.before)
        subject = self.subject()
        with on_a_device(subject):
            subject.apply(self.make(), self.context())
            strays = [name for name, value in subject.model.named_parameters() if value.device != FIRST]
        assert not strays, f"left on another device: {strays[:3]}"
        far = at_home.after.distance(Snapshot.of(subject))
        assert far <= self.kernels * changed, f"of {changed:.2%} of the weights, {far:.2%} differ from the CPU's"

    def test_methods_that_it_runs_are_in_its_identity(self) -> None:
        """A stage of a wrapper is another one when a wrapped method's version or settings are."""
        missing = unidentified(self.make(), self.as_a_step().others)
        assert not missing, f"runs {', '.join(missing)}, which `wraps` does not name: identity() stays when it changes"

    def test_seeds_matter_only_where_declared(self) -> None:
        """`seeded = False` lets all seeds share one stage."""
        made = self.make()
        if not made.seeded:
            context = self.context()
            reseeded = self.applied(made, replace(context, seed=context.seed + 1))
            assert not self.as_a_step().after.differing(reseeded), (
                "seeded = False, but another seed gives other weights"
            )

    def test_every_setting_is_read(self) -> None:
        """A setting changes the weights, or is `Speed`, void, or listed in `unread` with a reason."""
        made, context, base = self.make(), self.context(), self.as_a_step().after
        fast, void = made.speed_fields(), made.void_settings()
        for field, value in self.other_values.items():
            other = with_value(made, field, value)
            reset = self.applied(other, context)
            if field in fast:
                far = base.distance(reset)
                assert far <= self.ties, f"{field} is marked Speed, but {far:.2%} of the weights differ"
                continue
            differs = bool(base.differing(reset))
            assert differs or field in {*self.unread, *void}, f"{field} = {value!r} changes no weight: is it read?"
            assert not (differs and field in void), f"{field} is called void, but changes weights"
            if differs:
                assert other.effective() != made.effective(), f"{field} changes weights but not effective()"

    def test_declared_needs_are_complete(self) -> None:
        """With every other part of the data empty, the result is the same."""
        made, context = self.make(), self.context()
        try:
            bare = self.applied(made, replace(context, data=only(context.data, made.needs)))
        except Exception as error:
            raise AssertionError(f"fails with {sorted(made.needs)} alone: {error!r}") from error
        assert not self.as_a_step().after.differing(bare), "the result depends on data that `needs` does not name"


def _application(subject: Subject, before: Snapshot, receipt: Receipt) -> Application:
    gradients = tuple(name for name, value in subject.model.named_parameters() if value.grad is not None)
    return Application(before, Snapshot.of(subject), gradients, receipt)
