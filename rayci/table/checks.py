"""Whether a table keeps its contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayci.kinds import Direction, Recompress, Status
from rayci.table.row_codes import row_codes
from rayci.table.schema import KEY, SCHEMA, SCHEMA_VERSION

_VOCABULARIES: Mapping[str, Collection[Any]] = {
    "schema_version": (SCHEMA_VERSION,),
    "direction": tuple(Direction),
    "recompress": tuple(Recompress),
    "status": tuple(Status),
}


def check(table: pa.Table) -> list[str]:
    """What breaks the contract of the table, in words; empty when it holds."""
    return [*_doubled(table), *broken_cells(table)]


def _doubled(table: pa.Table) -> list[str]:
    """Whether a key occurs twice."""
    _, first, counts = np.unique(row_codes(table, KEY), return_index=True, return_counts=True)
    doubled = first[counts > 1]
    return [f"{len(doubled)} rows occur twice, first {named(table, int(doubled.min()))}"] if len(doubled) else []


def broken_cells(table: pa.Table) -> list[str]:
    """What breaks the contract in single rows, in words."""
    empty = [field.name for field in SCHEMA if not field.nullable and table.column(field.name).null_count]
    problems = [f"a {name} is missing" for name in empty]
    for name in ("value", "stderr"):
        if pc.any(pc.is_nan(table.column(name))).as_py():
            problems.append(f"a {name} is NaN")
    if pc.any(pc.xor(pc.is_valid(table.column("value")), pc.equal(table.column("status"), Status.OK))).as_py():
        problems.append("a value without status ok, or the reverse")
    for name, known in _VOCABULARIES.items():
        unknown = set(table.column(name).unique().drop_null().to_pylist()) - set(known)
        if unknown:
            problems.append(f"unknown {name} {sorted(unknown, key=str)[0]!r}")
    return problems


def named(table: pa.Table, row: int) -> str:
    """A row by its key, for people."""
    criterion, stage, replicate = (
        table.column(n)[row].as_py() for n in ("criterion", "stage_fingerprint", "replicate")
    )
    return f"{criterion} of stage {stage[:12]}" + ("" if replicate is None else f", replicate {replicate}")
