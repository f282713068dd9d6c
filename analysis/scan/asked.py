"""What was asked for: the compositions of stages, each distinct one parsed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rayci.analysis.scan.coded import Coded, Codes
from rayci.analysis.scan.variant import Variant, settings_without
from rayci.kinds import Kind

_STEP = ["kind", "method", "strength_name", "strength", "settings"]
"""What tells two steps apart; fingerprints differ between replicates."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One asked step: the method with its γ left open, and the γ it ran at."""

    variant: Variant
    strength: float | None


Composition = tuple[Asked, ...]
"""Steps as asked, re-compression left out; empty for the untouched model."""


def asked_steps(steps: Sequence[Mapping[str, Any]]) -> Composition:
    """The steps of a row that the composition asked for, in order; re-compression steps are left out."""
    return tuple(_asked(step) for step in steps if step["recompression"] is None)


def compositions(stages: pl.DataFrame) -> Coded[Composition]:
    """The composition of every stage, from their column `steps`."""
    asked = (
        stages.with_row_index("stage").explode("steps").unnest("steps")
        .filter(pl.col("method").is_not_null(), pl.col("recompression").is_null())
    )  # fmt: skip
    distinct = asked.select(_STEP).unique(maintain_order=True).with_row_index("step")
    placed = asked.join(distinct, on=_STEP, how="left", nulls_equal=True, maintain_order="left")
    stages_of = (
        placed.group_by("stage", maintain_order=True).agg("step").group_by("step", maintain_order=True).agg("stage")
    )
    parsed = [_asked(step) for step in distinct.iter_rows(named=True)]
    known: dict[Composition, int] = {(): 0}  # what a stage without an asked step has
    # Settings that are written in two ways are the same ones.
    named = [
        known.setdefault(tuple(parsed[step] for step in steps), len(known)) for steps in stages_of["step"].to_list()
    ]
    members = stages_of.select("stage", composition=pl.Series(named, dtype=pl.Int32)).explode("stage")
    codes: Codes = np.zeros(len(stages), dtype=np.int32)
    codes[members["stage"].to_numpy()] = members["composition"].to_numpy()
    return Coded(tuple(known), codes)


def _asked(step: Mapping[str, Any]) -> Asked:
    name, strength = step["strength_name"], step["strength"]
    return Asked(Variant(Kind(step["kind"]), step["method"], settings_without(step["settings"], name), name), strength)
