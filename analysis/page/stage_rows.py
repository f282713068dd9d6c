"""The stages of every composition, re-compression included, and what has no value: for reading, not for metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from rayci.analysis.scan.cells import asked_steps
from rayci.analysis.text.tables import short
from rayci.kinds import Status
from rayci.table import ResultTable

_Key = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class StageLine:
    """One stage of a composition: means over replicates, as text."""

    chain: str
    stage: int
    recompression: str | None
    """`refit` or `reproject` where the stage re-compresses what an earlier step compressed."""
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Missing:
    """Readings of one composition that have no value, for one reason."""

    composition: str
    status: str
    reason: str
    criteria: tuple[str, ...]
    readings: int


def stage_lines(table: ResultTable) -> dict[str, list[tuple[str, list[StageLine]]]]:
    """Methods (`ft × wanda`) -> [(composition, its stages from the untouched model on)], two steps or more."""
    names = ["composition", "chain", "final", "steps", "stage", "criterion", "value", "status"]
    readings: dict[_Key, dict[str, list[Any]]] = {}
    heads: dict[_Key, dict[str, Any]] = {}
    for row in table.arrow.select(names).to_pylist():
        key = tuple(_step_key(step) for step in row["steps"])
        heads.setdefault(key, row)
        heads[key] = row if row["final"] else heads[key]
        readings.setdefault(key, {}).setdefault(row["criterion"], []).append(row)
    by_composition: dict[str, list[tuple[str, list[StageLine]]]] = {}
    for key, head in sorted(heads.items(), key=lambda entry: _reading_order(entry[1])):
        asked = sorted(asked_steps(head["steps"]), key=lambda step: step.variant.rank)
        if head["final"] and len(asked) > 1:
            prefixes = [key[:depth] for depth in range(len(key) + 1) if key[:depth] in heads]
            walked = [_line(heads[prefix], readings[prefix]) for prefix in prefixes]
            by_composition.setdefault(" × ".join(step.variant.method for step in asked), []).append(
                (head["composition"], walked)
            )
    return by_composition


def missing(table: ResultTable) -> list[Missing]:
    """Every final reading without a value, grouped by composition and reason."""
    chosen = table.arrow.filter(pc.field("final") & (pc.field("status") != Status.OK.value))
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for row in chosen.select(["composition", "status", "reason", "criterion"]).to_pylist():
        key = (row["composition"] or "untouched model", row["status"], row["reason"])
        grouped.setdefault(key, []).append(row["criterion"])
    return [Missing(*key, tuple(dict.fromkeys(names)), len(names)) for key, names in grouped.items()]


def _line(head: Mapping[str, Any], readings: Mapping[str, list[Any]]) -> StageLine:
    cells = {criterion: _cell(rows) for criterion, rows in readings.items()}
    last = head["steps"][-1]["recompression"] if head["steps"] else None
    return StageLine(head["chain"] or "untouched model", head["stage"], last, cells)


def _cell(rows: Iterable[Mapping[str, Any]]) -> str:
    """Mean over the readings that have a value; says how many have none."""
    held = list(rows)
    values = [row["value"] for row in held if row["value"] is not None]
    if not values:
        return str(held[0]["status"])
    mean = sum(values) / len(values)
    text = short(None if math.isnan(mean) else mean)
    return text if len(values) == len(held) else f"{text} ({len(held) - len(values)} {_lost(held)})"


def _lost(rows: Sequence[Mapping[str, Any]]) -> str:
    return " or ".join(sorted({row["status"] for row in rows if row["value"] is None}))


def _step_key(step: Mapping[str, Any]) -> tuple[Any, ...]:
    # Without the fingerprint, which differs between replicates.
    return step["method"], step["settings"], step["strength"], step["recompression"]


def _reading_order(head: Mapping[str, Any]) -> tuple[Any, ...]:
    """By order of methods, then by γ: the rows of one curve stand together."""
    steps = [step for step in head["steps"] if step["recompression"] is None]
    strengths = [-1.0 if step["strength"] is None else step["strength"] for step in steps]
    return [step["method"] for step in steps], strengths, [step["settings"] for step in steps]
