"""Every built-in training method passes the conformance suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rayci import registry
from rayci.conformance import InterventionConformance
from rayci.intervention import Intervention

OTHERS: dict[str, Any] = {
    "epochs": 2.0,
    "on": "retain",
    "loss_on": "text",
    "samples": 4,
    "batch": 2,
    "accumulation": 2,
    "max_tokens": 16,
    "last_layers": 1,
    "lr": 1e-4,
    "weight_decay": 1.0,
    "schedule": "linear",
    "warmup": 0.5,
    "clip_norm": 1e-7,
    "storage": "bfloat16",
    "micro_tokens": 20,
    "parametrisation": "lora",
}


def suite(name: str, given: dict[str, Any], others: dict[str, Any]) -> type[InterventionConformance]:
    """The suite of a method with its testbed preset, of a few short steps."""

    class Suite(InterventionConformance):
        other_values: ClassVar[Mapping[str, Any]] = others

        def make(self) -> Intervention:
            return registry.intervention(name).configure("testbed", None, {"samples": 6, "batch": 3, **given})

    return Suite


ADAPTERS: dict[str, Any] = {"parametrisation": "full", "lora_rank": 4, "lora_alpha": 4.0, "lora_targets": "mlp"}
TestFinetune = suite("finetune", {"max_tokens": 24}, {**OTHERS, "loss_on": "answer"})
TestRelearn = suite(
    "relearn", {"on": "retain", "loss_on": "answer", "parametrisation": "lora"}, {**OTHERS, **ADAPTERS, "on": "forget"}
)
