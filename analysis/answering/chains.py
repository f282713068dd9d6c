"""What every chain ends with: each criterion's mean over edit batches (or seeds) with its interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rayci.analysis.scan.asked import Asked, Composition, compositions
from rayci.analysis.scan.cells import refuse_mixture
from rayci.analysis.scan.coded import Coded
from rayci.analysis.scan.variant import labels
from rayci.analysis.statistics.intervals import Summary, of_items, summarise
from rayci.kinds import Scale
from rayci.table import ResultTable

_UNIT = ["asked", "criterion", "replicate", "seed"]


@dataclass(frozen=True)
class Ending:
    """One criterion at the end of a chain."""

    by_unit: Mapping[int | None, float]
    """Edit batch (or seed; None where there is one measurement) -> the criterion; seeds are averaged within a batch."""
    units: str | None
    """`replicates`, `seeds`, or None where there is one measurement."""
    summary: Summary
    """Over units; without a mean where a unit was lost. Of one unit: over the items that it was measured on."""
    reason: str | None
    """Why a value is missing."""

    @property
    def mean(self) -> float | None:
        """Mean over units; None where one is missing."""
        return self.summary.mean


@dataclass(frozen=True)
class Chain:
    """One composition of the sweep at its strengths; without steps: the untouched model."""

    composition: str
    steps: tuple[Asked, ...]
    stage: str
    """Fingerprint of its last stage, of the first edit batch and seed."""
    endings: Mapping[str, Ending]
    """By criterion."""

    @property
    def members(self) -> tuple[Any, ...]:
        """Its steps whatever their order: equal for all orders of the same methods at the same strengths."""
        return tuple(sorted((*step.variant.rank, step.strength or 0.0) for step in self.steps))


def chains(table: ResultTable, criteria: Sequence[str] | None = None) -> list[Chain]:
    """Every composition that ends under the sweep's policy, the untouched model first if it was measured.

    Raises RequestError where the table mixes models or re-compression policies.
    """
    refuse_mixture(table.columns(["model", "recompress"]))
    rows = table.arrow.filter(pc.field("final") | (pc.field("stage") == 0))
    if criteria is not None:
        rows = rows.filter(pc.field("criterion").isin(list(criteria)))
    asked = _asked(rows)
    rows = rows.append_column("asked", pa.array(asked.codes))
    endings: dict[int, dict[str, Ending]] = {}
    for (code, criterion), units in _units(rows).items():
        endings.setdefault(code, {})[criterion] = _ending(units, table.scales.get(criterion))
    firsts = _firsts(rows)
    names = _names({code: (asked.names[code], text) for code, (text, _) in firsts.items()})
    return [Chain(names[code], asked.names[code], firsts[code][1], held) for code, held in endings.items()]


def _asked(rows: pa.Table) -> Coded[Composition]:
    """The composition of every row, settings and all: its text alone may be that of another sweep's."""
    return compositions(ResultTable(rows, {}), pl.lit(True))


def _firsts(rows: pa.Table) -> dict[int, tuple[str, str]]:
    """Composition -> its text and the fingerprint of its last stage, of the first edit batch and seed."""
    where = [rows.column(name).to_pylist() for name in ("asked", "replicate", "seed")]
    first: dict[int, tuple[int, int, int]] = {}
    for place, (code, replicate, seed) in enumerate(zip(*where, strict=True)):
        run = (-1 if replicate is None else replicate, -1 if seed is None else seed, place)
        first[code] = min(run, first.get(code, run))
    picked = rows.select(["composition", "stage_fingerprint"]).take([place for _, _, place in first.values()])
    return dict(zip(first, (tuple(row.values()) for row in picked.to_pylist()), strict=True))


def _names(known: Mapping[int, tuple[Composition, str]]) -> dict[int, str]:
    """The text of every composition; with the settings in which methods differ where several have one text."""
    counts = Counter(text for _, text in known.values())
    labelled = labels({step.variant for steps, _ in known.values() for step in steps}, {})
    names = {}
    for code, (steps, text) in known.items():
        told = [_step(step, labelled[step.variant]) for step in steps]
        names[code] = text if counts[text] == 1 else " > ".join(told)
    return names


def _step(step: Asked, label: str) -> str:
    """`rtn@4{group_size=64}` of the label `rtn{group_size=64}`."""
    strength = "" if step.strength is None else f"@{step.strength:g}"
    return step.variant.method + strength + label.removeprefix(step.variant.method)


def _units(rows: pa.Table) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """(composition, criterion) -> its units: seeds are averaged within an edit batch."""
    seed = pc.if_else(pc.is_valid(rows.column("replicate")), pa.scalar(None, pa.int32()), rows.column("seed"))
    keyed = rows.set_column(rows.schema.get_field_index("seed"), "seed", seed)
    sums = [("value", "mean"), ("value", "count"), ("stderr", "mean"), ("n", "sum")]
    grouped = keyed.group_by(_UNIT, use_threads=False).aggregate([*sums, ("reason", "list"), ([], "count_all")])
    units: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for unit in grouped.to_pylist():
        units.setdefault((unit["asked"], unit["criterion"]), []).append(unit)
    return units


def _ending(units: Sequence[Mapping[str, Any]], scale: Scale | None) -> Ending:
    lost = [unit for unit in units if unit["value_count"] < unit["count_all"]]
    names = {"seeds" if unit["replicate"] is None else "replicates" for unit in units}
    over = names.pop() if len(units) > 1 and len(names) == 1 else None
    if lost:
        reasons = dict.fromkeys(reason for unit in lost for reason in unit["reason_list"] if reason)
        some = "" if len(lost) == len(units) else f" ({len(lost)} of {len(units)} {over})"
        return Ending({}, over, summarise([math.nan] * len(units)), "; ".join(reasons) + some)
    named = [(unit["seed"] if unit["replicate"] is None else unit["replicate"], unit["value_mean"]) for unit in units]
    by_unit = dict(sorted(named, key=lambda unit: -1 if unit[0] is None else unit[0]))
    if len(by_unit) == 1:
        (unit,) = units
        share = scale is not None and scale.judges_shares
        items = (unit["value_mean"], unit["stderr_mean"], unit["n_sum"] or 0)
        return Ending(by_unit, None, of_items(*items, share=share), None)
    return Ending(by_unit, over, summarise(list(by_unit.values())), None)
