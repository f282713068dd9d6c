"""Every built-in unlearning method, and the recall criteria, pass the conformance suites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rayci import registry
from rayci.conformance import CriterionConformance, InterventionConformance
from rayci.context import Context
from rayci.intervention import Intervention
from rayci.interventions.unlearning.sure import Sure
from rayci.subject import Subject
from tests.models import tiny

LOOP: dict[str, Any] = {
    "last_layers": 1,
    "lr": 1e-4,
    "weight_decay": 1.0,
    "samples": 6,
    "batch": 2,
    "accumulation": 2,
    "epochs": 2,
    "max_steps": 1,
    "clip_norm": 1e-7,
    "storage": "bfloat16",
    "micro_tokens": 20,
    "parametrisation": "lora",
}
STOPS: dict[str, Any] = {"loss_on": "answer", "stop_loss": 0.001, "stop_recall": 1.0}
SMALL: dict[str, Any] = {"samples": 8, "batch": 4, "epochs": 1, "max_tokens": 64}


def suite(name: str, given: dict[str, Any], others: dict[str, Any]) -> type[InterventionConformance]:
    """The suite of a method with its testbed preset."""

    class Suite(InterventionConformance):
        other_values: ClassVar[Mapping[str, Any]] = others

        def make(self) -> Intervention:
            return registry.intervention(name).configure("testbed", None, given)

        def subject(self) -> Subject:
            return tiny()

        def context(self) -> Context:
            """With few questions: training asks them all again and again."""
            known = super().context()
            return replace(known, data=replace(known.data, forget_questions=known.data.forget_questions[:8]))

    return Suite


def loop_suite(name: str, **others: Any) -> type[InterventionConformance]:
    """The suite of a method that shares the loop. Recall stops it at its second step, before the
    other conditions can; more epochs matter only without that."""
    by_steps = {"samples": 4, "batch": 1, "epochs": 3, "max_steps": 4, "max_tokens": 24, "loss_on": "text", "lr": 1e-3}
    given = {**by_steps, "stop_recall": 1.0, "check_every": 2}
    longer = registry.intervention(name).configure("testbed", None, {**by_steps, "epochs": 1})
    shorter = longer.model_copy(update={"max_steps": 1})
    values = {**LOOP, **STOPS, "max_tokens": 16, "check_every": 1, "stop_recall": None, **others}
    return suite(name, given, {**values, "epochs": shorter})


TestGradientAscent = loop_suite("ga")
TestGradientDifference = loop_suite("gd", alpha=1.0)
TestGradientAscentKL = loop_suite("ga_klr", alpha=1.0)
PREFERENCE: dict[str, Any] = {"beta": 0.5, "length_normalised": True, "sam_radius": 0.5}
TestNegativePreference = loop_suite("npo", **PREFERENCE)
TestNegativePreferenceDescent = loop_suite("npo_gdr", alpha=1.0, **PREFERENCE)
TestNegativePreferenceKL = loop_suite("npo_klr", alpha=1.0, **PREFERENCE)
ADAPTERS: dict[str, Any] = {"parametrisation": "full", "lora_rank": 4, "lora_alpha": 4.0, "lora_targets": "mlp"}
TestSimpleNegativePreference = loop_suite("simnpo", beta=4.0, margin=1.0, alpha=8.0, retain="kl")
TestSelfDistillation = loop_suite("undial", beta=1.0, alpha=8.0, retain="none", **ADAPTERS)
TestWeightedAscent = loop_suite("wga", power=2.0, alpha=8.0, retain="none")
TestSaturationImportance = loop_suite("satimp", saturation=2.0, importance=3.0, alpha=8.0, retain="kl")

STEERING: dict[str, Any] = {
    "layer": 1,
    "update": 1,
    "coefficient": 10.0,
    "alpha": 1.0,
    "lr": 1e-4,
    "weight_decay": 1.0,
    "batch": 3,
    "max_batches": 2,
    "max_tokens": 16,
    "topic_tokens": {"reagent": 8},
    "retain_tokens": 16,
    "clip_norm": 1e-7,
    "storage": "bfloat16",
    "micro_tokens": 30,
    "parametrisation": "lora",
}
TestRepresentationMisdirection = suite("rmu", {"max_batches": 3, "update": 2}, STEERING)
LATENT: dict[str, Any] = {"latent_layers": (1,), "epsilon": 0.1, "inner_steps": 1, "inner_lr": 0.05}
TestLatentAdversarialMisdirection = suite(
    "rmu_lat", {"max_batches": 2, "update": 2, "latent_layers": (0,)}, {**STEERING, **LATENT, "max_batches": 3}
)

TestRefusal = suite("refusal", {"samples": 8, "batch": 4}, {**LOOP, "epochs": 2, "replies": ("No.",)})
TestTaskVector = suite("task_vector", SMALL, {**LOOP, "max_tokens": 16, "scale": 2.0})
TestLowRankTaskVector = suite(
    "task_vector", {**SMALL, "parametrisation": "lora"}, {**LOOP, **ADAPTERS, "max_tokens": 16, "scale": 2.0}
)

INNER: dict[str, Any] = {**SMALL, "last_layers": 2}
TestSure = suite(
    "sure",
    {"settings": INNER},
    {
        "method": Sure.configure("testbed", None, {"method": "ga", "settings": {**INNER, "accumulation": 1}}),
        "settings": {**INNER, "beta": 1.0},
        "percentile": 20.0,
        "lr": 1e-4,
        "storage": "bfloat16",
        "micro_tokens": 64,
    },
)


def recall_suite(name: str) -> type[CriterionConformance]:
    """The suite of a recall criterion."""

    class Suite(CriterionConformance):
        other_values: ClassVar[Mapping[str, Any]] = {"samples": 10}

        def make(self) -> Any:
            return registry.criterion(name)()

    return Suite


TestForgetRecall = recall_suite("forget_recall")
TestRetainRecall = recall_suite("retain_recall")
