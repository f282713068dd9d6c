"""Items that turned between the untouched model and a stage: right before and wrong now, and the other way round.

Equal shares hide it: a model that loses ten answers and gains ten others has the same accuracy (arXiv 2407.09141).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayci.analysis.page.stage_rows import StageLine
from rayci.item_values import unpacked
from rayci.table import ResultTable


@dataclass(frozen=True)
class Turned:
    """Counts over the replicates and seeds of one stage and criterion."""

    broken: int
    """Right on the untouched model, wrong on this stage."""
    mended: int
    """Wrong on the untouched model, right on this stage."""
    items: int


_Reading = tuple[bytes, int]
"""Right or wrong, one bit an item, and how many items."""


def item_flips(table: ResultTable, lines: Sequence[StageLine]) -> list[Mapping[str, Turned]]:
    """For each stage, criterion -> what turned; only criteria whose items are right or wrong.

    A reading is compared with the untouched model's of the same edit batch and seed, or of all where it has none; where
    that asked other items, or none, it does not count. Empty for tables without items.
    """
    readings: dict[str, list[dict[str, Any]]] = {}
    columns = ["stage_fingerprint", "criterion", "replicate", "seed", "right", "n"]
    for row in [] if table.item_values is None else table.item_values.select(columns).to_pylist():
        if row["right"] is not None:
            readings.setdefault(row["stage_fingerprint"], []).append(row)
    before = {
        (row["criterion"], row["replicate"], row["seed"]): (row["right"], row["n"])
        for line in lines
        if line.stage == 0
        for mark in line.fingerprints
        for row in readings.get(mark, ())
    }
    return [_of_stage([row for mark in line.fingerprints for row in readings.get(mark, ())], before) for line in lines]


def _of_stage(rows: Sequence[Mapping[str, Any]], before: Mapping[Any, _Reading]) -> dict[str, Turned]:
    counts: dict[str, Turned] = {}
    for row in rows:
        reference = _reference(row, before)
        if reference is None or reference[1] != row["n"]:
            continue
        was, now = (unpacked(bits, row["n"]) for bits in (reference[0], row["right"]))
        so_far = counts.get(row["criterion"], Turned(0, 0, 0))
        broken, mended = int((was > now).sum()), int((was < now).sum())
        counts[row["criterion"]] = Turned(so_far.broken + broken, so_far.mended + mended, so_far.items + row["n"])
    return counts


def _reference(row: Mapping[str, Any], before: Mapping[Any, _Reading]) -> _Reading | None:
    name, replicate, seed = row["criterion"], row["replicate"], row["seed"]
    units = ((replicate, seed), (replicate, None), (None, seed), (None, None))
    return next((before[name, *unit] for unit in units if (name, *unit) in before), None)
