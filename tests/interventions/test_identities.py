"""The identities of methods under their presets, as results are stored under them.

A line that changes here makes every stored stage of that method unknown: raise `version` for other results, mark a
new field `LATER` for equal ones.
"""

from __future__ import annotations

import json
from pathlib import Path

from rayci import registry
from rayci.fingerprint import fingerprint

KNOWN = Path(__file__).parent / "identities.json"
STRENGTHS = {
    "sparsity": 0.5,
    "bits": 4,
    "blocks": 2,
    "percentile": 90,
    "scale": 5,
    "density": 0.2,
    "drop": 0.9,
    "epochs": 1,
}


def identities(method: str) -> dict[str, str]:
    """Preset -> identity of a method of this name, short."""
    cls = registry.intervention(method)
    gamma = STRENGTHS[cls.strength.name] if cls.strength else None
    presets = sorted({"published", *cls.presets})
    return {preset: fingerprint(cls.configure(preset, gamma).identity())[:12] for preset in presets}


def test_methods_keep_the_identity_that_results_are_stored_under() -> None:
    known = json.loads(KNOWN.read_text())
    assert {method: identities(method) for method in known} == known
