"""The conformance suite on the knowledge editors beside fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rayci.conformance import InterventionConformance
from rayci.context import Context
from rayci.intervention import Intervention
from rayci.interventions.editing.alphaedit import AlphaEdit
from rayci.interventions.editing.emmet import Emmet
from rayci.interventions.editing.lora import LowRank
from rayci.interventions.editing.memit import Memit
from rayci.interventions.editing.rome import Rome
from rayci.subject import Subject
from tests.models import tiny


class OnASmallModel(InterventionConformance):
    """Every setting is a training of its own: a random model of three small blocks tells as much as the testbed."""

    def subject(self) -> Subject:
        return tiny()


class TestLowRank(OnASmallModel):
    other_values: ClassVar[Mapping[str, Any]] = {
        "variant": "lora",
        "target_r": 2,
        "init_r": 7,
        "alpha": 16.0,
        "lr": 1e-3,
        "steps": 8,
        "tinit": 0,
        "tfinal": 1,
        "delta_t": 2,
        "orthogonality": 0.0,
        "retain_weight": 1.0,
        "storage": "bfloat16",
        "micro_tokens": 40,
        "batch": 1,
    }

    def make(self) -> Intervention:
        return LowRank(init_r=6, target_r=3, steps=7, tinit=1, tfinal=2)


class TestPlainLowRank(OnASmallModel):
    other_values: ClassVar[Mapping[str, Any]] = {
        "variant": LowRank.configure("testbed", settings={"steps": 5, "retain_batch": 3, "tinit": 0, "tfinal": 1}),
        "target_r": 2,
        "alpha": 16.0,
        "lr": 1e-3,
        "steps": 6,
        "retain_weight": 0.0,
        "retain_batch": 2,
        "max_tokens": 8,
        "storage": "bfloat16",
        "micro_tokens": 40,
        "batch": 1,
    }

    def make(self) -> Intervention:
        return LowRank.configure("testbed", settings={"variant": "lora", "steps": 5, "retain_batch": 3})


CLOSED_FORM: Mapping[str, Any] = {
    "layers": (0, 1),
    "passes": 4,
    "lr": 0.2,
    "clamp": 0.1,
    "weight_decay": 0.7,
    "kl_factor": 1.0,
    "kl": "base_to_edited",
    "stop_loss": 20.0,
    "documents": 20,
    "max_tokens": 12,
    "contexts": ("{}", "It is known. {}"),
    "storage": "bfloat16",
    "forward_batch": 5,
    "batch": 1,
}
"""Other values of what closed-form editors share."""
UNREAD: Mapping[str, str] = {"statistics_of": "nothing was done before"}
QUICK: Mapping[str, Any] = {"contexts": ("{}",), "documents": 12, "passes": 3}


class TestMemit(OnASmallModel):
    other_values: ClassVar[Mapping[str, Any]] = {
        **CLOSED_FORM,
        "context_tokens": 6,
        "context_top_k": 2,
        "covariance_weight": 30.0,
        "z_batch": 3,
    }
    unread: ClassVar[Mapping[str, str]] = {**UNREAD, "sequential": "no edit was written before"}

    def make(self) -> Intervention:
        return Memit.configure("testbed", settings={"documents": 30, "passes": 3})


class TestAlphaEdit(OnASmallModel):
    other_values: ClassVar[Mapping[str, Any]] = {**CLOSED_FORM, "null_threshold": 0.02, "ridge": 3.0, "z_batch": 3}
    unread: ClassVar[Mapping[str, str]] = UNREAD

    def make(self) -> Intervention:
        return AlphaEdit.configure("testbed", settings=QUICK)


class TestEmmet(OnASmallModel):
    other_values: ClassVar[Mapping[str, Any]] = {**CLOSED_FORM, "damping": 3.0, "z_batch": 3}
    unread: ClassVar[Mapping[str, str]] = UNREAD

    def make(self) -> Intervention:
        return Emmet.configure("testbed", settings=QUICK)


class TestRome(OnASmallModel):
    other_values: ClassVar[Mapping[str, Any]] = {**CLOSED_FORM, "layers": (1,), "covariance": False}
    unread: ClassVar[Mapping[str, str]] = UNREAD

    def context(self) -> Context:
        """It solves an edit after the other: three tell as much as eight."""
        return replace(super().context(), batch_size=3)

    def make(self) -> Intervention:
        return Rome.configure("testbed", settings=QUICK)
