"""A result table in a few lines: what it holds and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from rayci.analysis.scan.several_models import Model
from rayci.analysis.scan.variant import method_of
from rayci.kinds import Status
from rayci.table import ResultTable

_SHOWN = 8
"""Names of a kind that are shown; how many more there are is said."""
_LONG = 60
"""Characters of a reason that are shown."""


def words_of(table: ResultTable, models: Sequence[Model]) -> str:
    """The text, a line for each of: rows and sweeps, models, criteria, methods, what is missing, items kept or not."""
    sweeps = _distinct(table, "sweep")
    steps = {step for text in _distinct(table, "composition") for step in text.split(" > ") if step}
    lines = {
        "models": _listed([_model(model) for model in models]),
        "criteria": _listed(_distinct(table, "criterion")),
        "methods": _listed(sorted({method_of(step) for step in steps})),
        "missing": _missing(table),
        "items": "kept" if table.item_files else "none kept",
    }
    head = f"{len(table)} rows of {len(sweeps)} sweep{'s' * (len(sweeps) != 1)}: {_listed(sweeps)}"
    return "\n".join([head, *(f"  {name:<9}{text}" for name, text in lines.items() if text)])


def _distinct(table: ResultTable, name: str) -> list[str]:
    return sorted(table.columns([name]).select(pl.col(name).cast(pl.String)).unique().collect().to_series().to_list())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _model(model: Model) -> str:
    return model.name if model.parameters is None else f"{model.name} ({model.parameters:,} parameters)"


def _missing(table: ResultTable) -> str:
    lost = table.columns(["status", "reason"]).cast(pl.String).filter(pl.col("status") != Status.OK.value).collect()
    if lost.is_empty():
        return "nothing"
    counts = sorted(lost["status"].value_counts().rows())
    reason = " ".join(str(lost["reason"][0]).split())
    first = reason if len(reason) <= _LONG else f"{reason[: _LONG - 1]}…"
    return ", ".join(f"{count} {status}" for status, count in counts) + f"; first: {first}"
