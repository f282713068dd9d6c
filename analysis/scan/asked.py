"""What was asked for: the compositions of stages, each distinct one parsed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rayci.analysis.scan.coded import Coded, Codes
from rayci.analysis.scan.variant import Variant, settings_without
from rayci.analysis.statistics.piecewise import Kept
from rayci.kinds import Kind
from rayci.table import ResultTable

_STEP = ["kind", "method", "strength_name", "strength", "settings"]
"""What tells two steps apart; fingerprints differ between replicates."""
_AT_ONCE = 2**20
"""Rows of a table whose stages are looked at together."""
_FINAL = pl.col("final")


@dataclass(frozen=True, slots=True)
class Asked:
    """One asked step: the method with its γ left open, and the γ it ran at; None where γ is no choice."""

    variant: Variant
    strength: float | None


Composition = tuple[Asked, ...]
"""Steps as asked, re-compression left out; empty for the untouched model."""


def asked_steps(steps: Sequence[Mapping[str, Any]]) -> Composition:
    """The steps of a row that the composition asked for, in order; re-compression steps are left out."""
    return tuple(_asked(step) for step in steps if step["recompression"] is None)


def compositions(table: ResultTable, rows: pl.Expr = _FINAL) -> Coded[Composition]:
    """The composition of every final row, or of those that are asked for.

    Only the steps at which a stage begins are read: they are nested, and all would be slow and large.
    """
    known: dict[Composition, int] = {(): 0}  # what a stage without an asked step has
    begins, places = _rows(table, rows)
    stages = [_of_stages(pl.DataFrame({"steps": steps}), known) for steps in table.steps(places[begins])]
    codes: Codes = np.concatenate([np.empty(0, dtype=np.int32), *stages])[begins.cumsum() - 1]
    return Coded(tuple(known), codes)


def _rows(table: ResultTable, chosen: pl.Expr) -> tuple[Kept, NDArray[np.intp]]:
    """Whether a stage may begin at each of the chosen rows (or where the next are looked at), and their places."""
    stage = pl.col("stage_fingerprint")
    begins, places = [np.empty(0, dtype=bool)], [np.empty(0, dtype=np.intp)]
    for start in range(0, len(table), _AT_ONCE):
        rows = table.columns(["final", "stage_fingerprint"]).slice(start, _AT_ONCE).with_row_index("place")
        there = rows.filter(chosen).select("place", begins=stage.ne_missing(stage.shift())).collect()
        begins.append(there["begins"].to_numpy())
        places.append(there["place"].to_numpy().astype(np.intp) + start)
    return np.concatenate(begins), np.concatenate(places)


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
    variant = Variant(Kind(step["kind"]), step["method"], settings_without(step["settings"], name), name)
    return Asked(variant, None if variant.number_format else strength)
