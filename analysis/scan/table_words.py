"""A result table in a few lines: what it holds and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from rayci.analysis.scan.several_models import Model
from rayci.kinds import Status

_SHOWN = 8
"""Names of a kind that are shown; how many more there are is said."""
_LONG = 60
"""Characters of a reason that are shown."""


def words_of(rows: pa.Table, models: Sequence[Model], items: int) -> str:
    """The text, a line for each of: rows and sweeps, models, criteria, methods, what is missing, `items` files."""
    sweeps = _distinct(rows.column("sweep"))
    steps = pc.list_flatten(rows.column("steps"))
    lines = {
        "models": _listed([_model(model) for model in models]),
        "criteria": _listed(_distinct(rows.column("criterion"))),
        "methods": _listed(_distinct(pc.struct_field(steps, "method"))),
        "missing": _missing(rows),
        "items": f"{items} files" if items else "none kept",
    }
    head = f"{len(rows)} rows of {len(sweeps)} sweep{'s' * (len(sweeps) != 1)}: {_listed(sweeps)}"
    return "\n".join([head, *(f"  {name:<9}{text}" for name, text in lines.items() if text)])


def _distinct(column: pa.ChunkedArray) -> list[str]:
    return sorted(column.unique().to_pylist())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _model(model: Model) -> str:
    return model.name if model.parameters is None else f"{model.name} ({model.parameters:,} parameters)"


def _missing(rows: pa.Table) -> str:
    lost = rows.filter(pc.field("status") != Status.OK.value).select(["status", "reason"])
    if not lost.num_rows:
        return "nothing"
    counts = {row["values"]: row["counts"] for row in lost.column("status").value_counts().to_pylist()}
    reason = " ".join(lost.column("reason")[0].as_py().split())
    first = reason if len(reason) <= _LONG else f"{reason[: _LONG - 1]}…"
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) + f"; first: {first}"
