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
_AT_ONCE = 2**20
"""Rows of a table whose steps are looked at together: a row group of a file."""


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


def compositions(rows: pl.LazyFrame) -> Coded[Composition]:
    """The composition of every final row, from columns `final`, `stage_fingerprint` and `steps`.

    Steps are nested, and much larger than what is made of them: only those at which a stage begins are taken, from
    `_AT_ONCE` rows at a time.
    """
    known: dict[Composition, int] = {(): 0}  # what a stage without an asked step has
    codes: list[Codes] = [np.empty(0, dtype=np.int32)]
    stage = pl.col("stage_fingerprint")
    for start in range(0, rows.select(pl.len()).collect().item(), _AT_ONCE):
        final = rows.slice(start, _AT_ONCE).filter("final")
        stages = final.filter(stage.ne_missing(stage.shift())).select("steps").collect()
        which = final.select(stage.rle_id()).collect()["stage_fingerprint"].to_numpy()
        codes.append(_of_stages(stages, known)[which])
    return Coded(tuple(known), np.concatenate(codes))


def _of_stages(stages: pl.DataFrame, known: dict[Composition, int]) -> Codes:
    """Which composition each stage is, from its `steps`; those that were not `known` are added."""
    asked = (
        stages.with_row_index("stage").explode("steps").unnest("steps")
        .filter(pl.col("method").is_not_null(), pl.col("recompression").is_null())
    )  # fmt: skip
    distinct = asked.select(_STEP).unique(maintain_order=True).with_row_index("step")
    placed = asked.join(distinct, on=_STEP, how="left", nulls_equal=True, maintain_order="left")
    by_steps = (
        placed.group_by("stage", maintain_order=True).agg("step").group_by("step", maintain_order=True).agg("stage")
    )
    parsed = [_asked(step) for step in distinct.iter_rows(named=True)]
    # Settings that are written in two ways are the same ones.
    named = [
        known.setdefault(tuple(parsed[step] for step in steps), len(known)) for steps in by_steps["step"].to_list()
    ]
    members = by_steps.select("stage", composition=pl.Series(named, dtype=pl.Int32)).explode("stage")
    codes: Codes = np.zeros(len(stages), dtype=np.int32)
    codes[members["stage"].to_numpy()] = members["composition"].to_numpy()
    return codes


def _asked(step: Mapping[str, Any]) -> Asked:
    name, strength = step["strength_name"], step["strength"]
    return Asked(Variant(Kind(step["kind"]), step["method"], settings_without(step["settings"], name), name), strength)
