"""The stages of every composition, re-compression included, and what has no value: for reading, not for metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow.compute as pc

from rayci.analysis.scan.asked import Asked, asked_steps
from rayci.kinds import Status
from rayci.table import ResultTable

_STEP, _FIELD = "\x1e", "\x1f"
"""Between the steps of a key, and between the fields of a step."""


@dataclass(frozen=True)
class Value:
    """One criterion after one stage, over replicates and seeds."""

    mean: float | None
    lost: int
    """Readings without a value."""
    statuses: str
    """Why they have none: `failed`, `skipped` or both."""


@dataclass(frozen=True)
class StageLine:
    """One stage of a composition."""

    chain: str
    stage: int
    recompression: str | None
    """`refit` or `reproject` where the stage re-compresses what an earlier step compressed."""
    values: Mapping[str, Value]
    fingerprints: tuple[str, ...]
    """Of its replicates and seeds."""


@dataclass(frozen=True)
class Walk:
    """A composition from the untouched model on."""

    composition: str
    steps: tuple[Asked, ...]
    stages: tuple[int, ...]
    """Places of its stages among all; prefixes that compositions share stand there once."""


@dataclass(frozen=True)
class Missing:
    """Readings of one composition that have no value, for one reason."""

    composition: str
    status: str
    reason: str
    criteria: tuple[str, ...]
    readings: int


def stage_lines(table: ResultTable) -> tuple[list[StageLine], list[Walk]]:
    """All stages, and the compositions of one step and more by order of methods, then by γ."""
    rows = _keyed(table)
    values = _values(rows)
    heads = {head["key"]: head for head in _heads(rows)}
    places: dict[str, int] = {}
    walks = []
    for head in sorted(heads.values(), key=_reading_order):
        asked = asked_steps(head["steps"])
        if head["final"] and asked:
            steps = head["key"].split(_STEP)
            prefixes = [_STEP.join(steps[:depth]) for depth in range(len(steps) + 1)]
            stages = tuple(places.setdefault(key, len(places)) for key in prefixes if key in heads)
            walks.append(Walk(head["composition"], asked, stages))
    return [_line(heads[key], values[key]) for key in places], walks


def missing(table: ResultTable) -> list[Missing]:
    """Every final reading without a value, grouped by composition and reason."""
    chosen = table.arrow.filter(pc.field("final") & (pc.field("status") != Status.OK.value))
    grouped = (
        _frame(chosen, ["composition", "status", "reason", "criterion"])
        .group_by("composition", "status", "reason", maintain_order=True)
        .agg(pl.col("criterion").unique(maintain_order=True), pl.len().alias("readings"))
    )
    return [
        Missing(name or "untouched model", status, reason, tuple(criteria), readings)
        for name, status, reason, criteria, readings in grouped.iter_rows()
    ]


def _frame(arrow: Any, columns: Sequence[str]) -> pl.DataFrame:
    frame = pl.from_arrow(arrow.select(list(columns)))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _keyed(table: ResultTable) -> pl.DataFrame:
    """The rows with a `key` that is the same for all replicates of a stage: its steps without their fingerprints."""
    names = ["composition", "chain", "final", "steps", "stage", "stage_fingerprint", "criterion", "value", "status"]
    rows = _frame(table.arrow, names)
    fields = [pl.element().struct.field(name) for name in ("method", "settings", "strength", "recompression")]
    text = pl.concat_str([field.cast(pl.String).fill_null("") for field in fields], separator=_FIELD)
    steps = rows.unique("stage_fingerprint", maintain_order=True).select(
        "stage_fingerprint", pl.col("steps").list.eval(text).list.join(_STEP).alias("key")
    )
    return rows.join(steps, on="stage_fingerprint", maintain_order="left")


def _heads(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """One row for every key, a final one where there is any."""
    columns = ("composition", "chain", "final", "steps", "stage")
    first = rows.sort("final", descending=True, maintain_order=True).group_by("key", maintain_order=True)
    return first.agg(pl.col(columns).first(), pl.col("stage_fingerprint").unique(maintain_order=True)).to_dicts()


def _values(rows: pl.DataFrame) -> dict[str, dict[str, Value]]:
    """Key -> criterion -> mean of the readings that have a value."""
    lost = pl.col("status") != Status.OK.value
    grouped = rows.group_by("key", "criterion", maintain_order=True).agg(
        pl.col("value").mean(),
        lost.sum().alias("lost"),
        pl.col("status").filter(lost).unique().sort().str.join(" or ").alias("statuses"),
    )
    values: dict[str, dict[str, Value]] = {}
    for key, criterion, mean, count, statuses in grouped.iter_rows():
        values.setdefault(key, {})[criterion] = Value(mean, count, statuses)
    return values


def _line(head: Mapping[str, Any], values: Mapping[str, Value]) -> StageLine:
    last = head["steps"][-1]["recompression"] if head["steps"] else None
    name = head["chain"] or "untouched model"
    return StageLine(name, head["stage"], last, values, tuple(head["stage_fingerprint"]))


def _reading_order(head: Mapping[str, Any]) -> tuple[Any, ...]:
    """By order of methods, then by γ: the rows of one curve stand together."""
    steps = [step for step in head["steps"] if step["recompression"] is None]
    strengths = [-1.0 if step["strength"] is None else step["strength"] for step in steps]
    return [step["method"] for step in steps], strengths, [step["settings"] for step in steps]
