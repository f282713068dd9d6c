"""The methods that add what was trained elsewhere pass the suite."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from rayci import registry
from rayci.conformance import InterventionConformance
from rayci.conformance.bench import fresh_testbed
from rayci.intervention import Intervention
from tests.interventions.delta_folders import lasting, moved, noise, saved_difference, saved_model

NAMES = ["model.norm.weight", "model.layers.1.mlp.down_proj.weight"]
"""What the sources differ in."""


@cache
def difference(seed: int) -> str:
    made = noise(fresh_testbed(), seed=seed, names=NAMES)
    return str(saved_difference(made, lasting() / f"testbed{seed}", rayci="difference"))


@cache
def checkpoint() -> str:
    subject = fresh_testbed()
    return str(saved_model(moved(subject, noise(subject, names=NAMES)), lasting() / "checkpoint"))


def suite(name: str, given: dict[str, Any], others: dict[str, Any]) -> type[InterventionConformance]:
    """The suite of a method on a base that its sources do not name."""

    class Suite(InterventionConformance):
        other_values: ClassVar[Mapping[str, Any]] = {"base": "owner/renamed", **others}

        def make(self) -> Intervention:
            return registry.intervention(name).configure("testbed", None, given)

    return Suite


ADDED_WHOLE = {"form": "difference"}
"""The checkpoint's weights are then added as they are."""
TestDelta = suite(
    "delta", {"source": checkpoint(), "scale": 0.5}, {"source": difference(4), "scale": 1.0, **ADDED_WHOLE}
)
TestRetrain = suite("retrain", {}, {"source": checkpoint()})
SEVERAL = {"sources": [checkpoint(), difference(4)]}
OTHERS = {"sources": [difference(4), difference(5)], "weights": [1.0, 2.0], "scale": 0.5, **ADDED_WHOLE}
TestTies = suite("ties", SEVERAL, {**OTHERS, "density": 0.2})
TestDare = suite("dare", SEVERAL, {**OTHERS, "drop": 0.5})
