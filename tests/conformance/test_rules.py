"""The conformance suites: every built-in passes them, and each rule rejects what breaks it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from rayci import registry
from rayci.conformance import CompressorConformance, CriterionConformance, InterventionConformance
from rayci.conformance.bench import EDITS
from rayci.conformance.settings_rules import SettingsRules
from rayci.context import Context
from rayci.data.records import EditRecord, QuestionAnswer
from rayci.intervention import Compressor, Intervention
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.compression.wanda import Wanda
from rayci.interventions.editing.finetuning import FineTuning
from rayci.subject import Subject
from tests.criteria.broken import CRITERIA, Spread
from tests.interventions.broken import FATAL, INTERVENTIONS, Noise, Nudge
from tests.interventions.broken_compressors import COMPRESSORS, Halve
from tests.models import testbed, tiny

CALIBRATION: dict[str, Any] = {"sequences": 4, "length": 32, "forward_batch": 2}
OTHER_CALIBRATION: dict[str, Any] = {"sequences": 3, "length": 31, "forward_batch": 4}


class TestWanda(CompressorConformance):
    other_values: ClassVar[Mapping[str, Any]] = {"sparsity": 0.25, "pattern": "2:4", **OTHER_CALIBRATION}

    def make(self) -> Wanda:
        return Wanda(sparsity=0.5, **CALIBRATION)


class TestWandaTwoOfFour(CompressorConformance):
    other_values: ClassVar[Mapping[str, Any]] = {
        "sparsity": Wanda(sparsity=0.75, pattern="3:4", **CALIBRATION),
        "pattern": None,
        **OTHER_CALIBRATION,
    }

    def make(self) -> Wanda:
        return Wanda.configure("testbed", "2:4", CALIBRATION)


class TestRoundToNearest(CompressorConformance):
    unread: ClassVar[Mapping[str, str]] = {"keep_zeros": "the testbed's weights hold no zeros"}
    other_values: ClassVar[Mapping[str, Any]] = {"bits": 3, "group_size": 64, "range": "absmax", "grid": "nf4"}

    def make(self) -> Compressor:
        return RoundToNearest(bits=4)


class TestRoundToNearestAbsmax(TestRoundToNearest):
    other_values: ClassVar[Mapping[str, Any]] = {
        "bits": 8,
        "group_size": 32,
        "range": "absmax_tensor",
        "grid": "nf4",
    }

    def make(self) -> Compressor:
        return RoundToNearest(bits=4, group_size=-1, range="absmax")


class TestRoundToNearestAbsmaxTensor(TestRoundToNearest):
    other_values: ClassVar[Mapping[str, Any]] = {"bits": 8, "range": "minmax", "grid": "nf4"}

    def make(self) -> Compressor:
        return RoundToNearest(bits=4, range="absmax_tensor")


class TestFineTuning(InterventionConformance):
    other_values: ClassVar[Mapping[str, Any]] = {
        "layers": (1,),
        "lr": 1e-3,
        "steps": 2,
        "stop_loss": 100.0,
        "max_change": 1e-3,
        "storage": "bfloat16",
        "micro_tokens": 40,
        "batch": 1,
        "minibatch": 3,
        "epochs": 2,
    }

    def make(self) -> Intervention:
        return FineTuning.configure("testbed", settings={"steps": 3})


class TestFineTuningInMinibatches(InterventionConformance):
    other_values: ClassVar[Mapping[str, Any]] = {
        **TestFineTuning.other_values,
        "minibatch": 4,
        "epochs": 1,
    }

    def make(self) -> Intervention:
        return FineTuning.configure("testbed", settings={"minibatch": 3, "epochs": 2})


def criterion_suite(name: str, **values: Any) -> type[CriterionConformance]:
    """The suite of a built-in criterion."""

    class Suite(CriterionConformance):
        other_values: ClassVar[Mapping[str, Any]] = values

        def make(self) -> Any:
            return registry.criterion(name)()

    return Suite


class _EditSuite(CriterionConformance):
    """On edits to what the model knows, and a second batch to what it does not; with a chat template."""

    name: ClassVar[str]
    other_values: ClassVar[Mapping[str, Any]] = {"chat": True, "forward_tokens": 64, "batch": 1}

    def make(self) -> Any:
        return registry.criterion(self.name)()

    def subject(self) -> Subject:
        subject = super().subject()
        subject.tokenizer.chat_template = "{% for m in messages %}{{ m.content }} The{% endfor %}"
        return subject

    def context(self) -> Context:
        context = super().context()
        first = tuple(_asked(edit, edit.ground_truth, edit.locality) for edit in context.data.edits[:EDITS])
        strange = (replace(question, answer="nobody") for question in first[0].locality)
        second = (_asked(first[0], "nobody", tuple(strange)),) * EDITS
        data = replace(context.data, edits=(*first, *second), arranged=frozenset({"edits"}))
        return replace(context, data=data)


def _asked(edit: EditRecord, target: str, locality: tuple[QuestionAnswer, ...]) -> EditRecord:
    return replace(edit, target_new=target, locality=locality, portability=locality[:1])


def edit_suite(name: str, **members: Any) -> type[_EditSuite]:
    """The suite of a criterion of edits."""
    return type("Suite", (_EditSuite,), {"name": name, **members})


TestEditSuccess = edit_suite("edit_success")
TestEditGeneralization = edit_suite("edit_generalization")
TestEditLocality = edit_suite("edit_locality")
TestEditLocalityAgreement = edit_suite(
    "edit_locality_agreement", unread=dict.fromkeys(("chat", "batch"), "stage 0 agrees with itself")
)
TestEditPortability = edit_suite("edit_portability")
TestEditNaturalStop = edit_suite("edit_natural_stop")
TestEditExactMatch = edit_suite("edit_exact_match")
TestSparsity = criterion_suite("sparsity")
TestAverageBits = criterion_suite("avg_bits")
TestNominalBits = criterion_suite("avg_bits_nominal")


def rejecting(suite: SettingsRules) -> set[str]:
    """Names of the rules that a suite fails."""
    failed = set()
    for rule in dir(suite):
        if rule.startswith("test_"):
            try:
                getattr(suite, rule)()
            except (Exception, pytest.fail.Exception):
                failed.add(rule)
    return failed


def nudge_suite(broken: type[Nudge]) -> InterventionConformance:
    class Suite(InterventionConformance):
        other_values: ClassVar[Mapping[str, Any]] = {"amount": 0.125, "texts": 2, "forward_batch": 3}

        def make(self) -> Intervention:
            return broken()

        def subject(self) -> Subject:
            return tiny(num_hidden_layers=1)

    further = {"ignored": 2, "inner": Noise(amount=0.25)}
    Suite.other_values |= {name: value for name, value in further.items() if name in broken.model_fields}
    return Suite()


@pytest.mark.parametrize(("broken", "rules"), INTERVENTIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_an_intervention_is_rejected_by_the_rule_that_it_breaks(broken: type[Nudge], rules: set[str]) -> None:
    assert rejecting(nudge_suite(broken)) == rules


@pytest.mark.parametrize(("broken", "rules"), FATAL.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_an_intervention_that_cannot_be_a_step_is_rejected(broken: type[Nudge], rules: set[str]) -> None:
    assert rejecting(nudge_suite(broken)) >= rules


@pytest.mark.parametrize(("broken", "rules"), COMPRESSORS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_compressor_is_rejected_by_the_rule_that_it_breaks(broken: type[Halve], rules: set[str]) -> None:
    class Suite(CompressorConformance):
        def make(self) -> Compressor:
            return broken()

        def subject(self) -> Subject:
            return tiny(num_hidden_layers=1)

    assert rejecting(Suite()) == rules


@pytest.mark.parametrize(("broken", "rules"), CRITERIA.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_criterion_is_rejected_by_the_rule_that_it_breaks(broken: type[Spread], rules: set[str]) -> None:
    class Suite(CriterionConformance):
        other_values: ClassVar[Mapping[str, Any]] = {"power": 2.0, "forward_batch": 3}

        def make(self) -> Spread:
            return broken()

        def subject(self) -> Subject:
            return tiny(num_hidden_layers=1)

    if "ignored" in broken.model_fields:
        Suite.other_values = {**Suite.other_values, "ignored": 2}
    assert rejecting(Suite()) == rules


def test_a_setting_without_another_value_is_named() -> None:
    suite = nudge_suite(Nudge)
    type(suite).other_values = {"amount": 0.5, "texts": 2}
    with pytest.raises(AssertionError, match="forward_batch"):
        suite.test_every_setting_has_another_value()
    type(suite).other_values = {"amount": 0.5, "texts": 2, "forward_batch": 3}
    with pytest.raises(AssertionError, match=r"amount.*is the value of make"):
        suite.test_every_setting_has_another_value()


def test_a_compressor_does_not_get_away_with_the_plain_suite() -> None:
    class Suite(InterventionConformance):
        def make(self) -> Intervention:
            return Halve()

    with pytest.raises(AssertionError, match="CompressorConformance"):
        Suite().test_compressors_take_their_own_suite()


def test_every_built_in_has_its_suite() -> None:
    tested = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        found = vars(importlib.import_module(f"tests.conformance.{path.stem}")).items()
        suites = [value() for name, value in found if name.startswith("Test")]
        tested |= {suite.make().name for suite in suites}
    assert tested == {*registry.INTERVENTIONS, *registry.CRITERIA}


def test_import_rayci_loads_no_pytest() -> None:
    code = "import sys, rayci; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_copies_of_the_testbed_are_independent() -> None:
    first, second = testbed(), testbed()
    with torch.no_grad():
        first.model.get_input_embeddings().weight.zero_()  # type: ignore[operator]
    assert bool(second.model.get_input_embeddings().weight.any())  # type: ignore[operator]
