"""A correct tiny intervention and variants that break one rule each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from rayci.context import Context
from rayci.errors import RequestError
from rayci.intervention import Intervention, Receipt, Strength
from rayci.kinds import Kind
from rayci.settings import ForwardBatch, Settings
from rayci.subject import Subject
from rayci.workload import Workload


def target(subject: Subject) -> nn.Parameter:
    """The one weight that these interventions change."""
    return subject.parameters_of([target_name(subject)])[target_name(subject)]


def target_name(subject: Subject) -> str:
    """Its name."""
    return f"{subject.paths.blocks}.0.{subject.paths.mlp_out}.weight"


class Nudge(Intervention):
    """Adds seeded noise, as much as the first forget texts are long: keeps every rule."""

    name: ClassVar[str] = "nudge"
    kind: ClassVar[Kind] = Kind.UNLEARN
    needs: ClassVar[frozenset[str]] = frozenset({"forget"})
    strength: ClassVar[Strength | None] = Strength("amount", "", 0.0, 10.0)

    amount: float = 0.5
    """γ: size of the noise."""
    texts: Annotated[int, Field(ge=1)] = 3
    """Forget texts whose length counts."""
    forward_batch: ForwardBatch = 2
    """Texts read at once."""

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        length = sum(len(document.text) for document in context.data.forget[: self.texts])
        noise = self.noise(subject, context).to(target(subject))
        target(subject).add_(noise * self.amount * length / 100)
        return Receipt((target_name(subject),), {"length": length})

    def noise(self, subject: Subject, context: Context) -> Tensor:
        """Seeded noise of the weight's shape."""
        return torch.randn(target(subject).shape, generator=context.generator("nudge"))


class Unread(Nudge):
    ignored: int = 1
    """Never looked at."""


class GlobalRandom(Nudge):
    def noise(self, subject: Subject, context: Context) -> Tensor:
        return torch.randn(target(subject).shape)


class SeedsGlobal(Nudge):
    def noise(self, subject: Subject, context: Context) -> Tensor:
        torch.manual_seed(0)
        return torch.randn(target(subject).shape)


class HiddenChange(Nudge):
    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        next(subject.model.parameters())[0, 0] += 1
        return super().apply(subject, context)


class HiddenBuffer(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        next(iter(subject.model.buffers())).mul_(2)
        return super().apply(subject, context)


class NotFinite(Nudge):
    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        receipt = super().apply(subject, context)
        target(subject)[0, 0] = math.nan
        return receipt


class ComputesOnTheCpu(Nudge):
    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        receipt = super().apply(subject, context)
        target(subject).add_(self.noise(subject, context))
        return receipt


class LeavesTrainMode(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        subject.model.train()
        return super().apply(subject, context)


class LeavesHook(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        subject.blocks[0].register_forward_hook(lambda *_: None)
        return super().apply(subject, context)


class TurnsCacheOff(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        subject.model.config.use_cache = False
        return super().apply(subject, context)


class ChangesDtype(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        receipt = super().apply(subject, context)
        target(subject).data = target(subject).data.bfloat16()
        return receipt


class AddsParameter(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        subject.blocks[0].register_parameter("extra", nn.Parameter(torch.zeros(1)))
        return super().apply(subject, context)


class SeededInSecret(Nudge):
    seeded: ClassVar[bool] = False


class ReadsUndeclaredData(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        receipt = super().apply(subject, context)
        target(subject).data.mul_(1 + len(context.data.retain))
        return receipt


class RefusesWhatFits(Nudge):
    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield RequestError("not on a Saturday")


class NeedsWeightsToJudge(Nudge):
    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        if target(subject).sum().item() == 0:
            yield RequestError("there is nothing to nudge")


class TouchesWhenItJudges(Nudge):
    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        if subject.has_weights:
            target(subject).data.add_(1)
        return iter(())


class CrashesOnMissingData(Nudge):
    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        if not context.data.forget[0].text:
            yield RequestError("the first text is empty")


class SpeedThatCounts(Nudge):
    def noise(self, subject: Subject, context: Context) -> Tensor:
        return super().noise(subject, context) * self.forward_batch


class HidesASetting(Nudge):
    def effective(self) -> dict[str, Any]:
        return {key: value for key, value in super().effective().items() if key != "texts"}


class Undocumented(Nudge):
    amount: float = 0.25


class TakesAnything(Nudge):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class CanBeChanged(Nudge):
    model_config = ConfigDict(frozen=False, extra="forbid", use_attribute_docstrings=True)


class WrongStrength(Nudge):
    strength: ClassVar[Strength | None] = Strength("size", "", 0.0, 1.0)


class BadPreset(Nudge):
    presets: ClassVar[dict[str, dict[str, Any]]] = {"testbed": {"texts": 0}}


class Idle(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        return Receipt(())


class InfiniteCount(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        return Receipt(super().apply(subject, context).changed, {"loss": math.inf})


class Noise(Nudge):
    """What the wrappers below run."""

    name: ClassVar[str] = "noise"


class Wraps(Nudge):
    """Keeps every rule."""

    inner: Noise = Noise()
    """Makes the noise."""

    def noise(self, subject: Subject, context: Context) -> Tensor:
        return self.inner.noise(subject, context) * self.inner.amount


class HidesWhatItRuns(Nudge):
    def noise(self, subject: Subject, context: Context) -> Tensor:
        return Noise().noise(subject, context)


class RemembersAnOldVersion(HidesWhatItRuns):
    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "noise": {**Noise().identity(), "version": 1}}


class HidesTheSettingsOfWhatItRuns(Wraps):
    def wraps(self) -> tuple[Settings, ...]:
        return (Noise(texts=1),)


class CostsEndless(Nudge):
    def operations(self, work: Workload) -> float:
        return math.inf


class CostsLessOnLongerTexts(Nudge):
    def memory(self, work: Workload) -> int:
        return 10**9 // work.tokens("edits")


class KeepsMoreThanItSays(Nudge):
    def apply(self, subject: Subject, context: Context) -> Receipt:
        receipt = super().apply(subject, context)
        return Receipt(receipt.changed, receipt.counts, kept={"noise": self.noise(subject, context)})


class BuildsInSecret(Nudge):
    def built_bytes(self, work: Workload) -> int:
        return 4 * work.largest

    def noise(self, subject: Subject, context: Context) -> Tensor:
        drawn = super().noise
        return context.built(subject, "noise", lambda: {"noise": drawn(subject, context)})["noise"]


class BuildsMoreThanItSays(BuildsInSecret):
    builds: ClassVar[bool] = True

    def built_bytes(self, work: Workload) -> int:
        return 0


INTERVENTIONS: dict[type[Nudge], set[str]] = {
    Nudge: set(),
    Unread: {"test_every_setting_is_read"},
    GlobalRandom: {
        "test_equal_fingerprints_give_equal_bits",
        "test_global_random_streams_are_neither_used_nor_read",
        "test_it_computes_where_the_model_is",
        "test_declared_needs_are_complete",
        "test_every_setting_is_read",
    },
    ComputesOnTheCpu: {"test_it_computes_where_the_model_is"},
    SeedsGlobal: {"test_global_random_streams_are_neither_used_nor_read"},
    HiddenChange: {"test_the_receipt_names_all_that_changed"},
    HiddenBuffer: {"test_the_receipt_names_all_that_changed"},
    LeavesTrainMode: {"test_the_model_is_left_as_found"},
    LeavesHook: {"test_the_model_is_left_as_found"},
    TurnsCacheOff: {"test_the_model_is_left_as_found"},
    ChangesDtype: {"test_the_model_is_left_as_found"},
    SeededInSecret: {"test_seeds_matter_only_where_declared"},
    ReadsUndeclaredData: {"test_declared_needs_are_complete"},
    NeedsWeightsToJudge: {"test_what_fits_is_not_refused", "test_missing_data_is_a_fault_and_no_crash"},
    TouchesWhenItJudges: {"test_checking_changes_nothing", "test_equal_fingerprints_give_equal_bits"},
    CrashesOnMissingData: {"test_missing_data_is_a_fault_and_no_crash"},
    SpeedThatCounts: {"test_every_setting_is_read"},
    HidesASetting: {"test_every_setting_is_read", "test_effective_settings_are_all_but_speed"},
    Undocumented: {"test_every_setting_is_documented"},
    TakesAnything: {"test_unknown_settings_are_refused"},
    CanBeChanged: {"test_settings_are_frozen_and_round_trip_as_json"},
    BadPreset: {"test_it_is_declared"},
    WrongStrength: {"test_it_is_declared"},
    Idle: {"test_the_receipt_names_all_that_changed", "test_every_setting_is_read"},
    InfiniteCount: {"test_the_receipt_can_be_stored"},
    KeepsMoreThanItSays: {"test_what_it_leaves_on_disk_is_no_more_than_it_says"},
    BuildsInSecret: {"test_what_it_leaves_on_disk_is_no_more_than_it_says"},
    BuildsMoreThanItSays: {"test_what_it_leaves_on_disk_is_no_more_than_it_says"},
    CostsEndless: {"test_what_it_costs_is_finite_positive_and_grows_with_the_texts"},
    CostsLessOnLongerTexts: {"test_what_it_costs_is_finite_positive_and_grows_with_the_texts"},
    Wraps: set(),
    HidesWhatItRuns: {"test_methods_that_it_runs_are_in_its_identity"},
    RemembersAnOldVersion: {"test_methods_that_it_runs_are_in_its_identity"},
    HidesTheSettingsOfWhatItRuns: {"test_methods_that_it_runs_are_in_its_identity"},
}
"""Intervention -> exactly the rules that must reject it."""

FATAL: dict[type[Nudge], set[str]] = {
    NotFinite: {"test_the_weights_are_finite"},
    RefusesWhatFits: {"test_what_fits_is_not_refused"},
    AddsParameter: {"test_flags_and_gradients_are_clean_after_a_step"},
}
"""Intervention -> rules among those that must reject it; as no step succeeds, most do."""
