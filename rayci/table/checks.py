"""Whether a table keeps its contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc

from rayci.kinds import Direction, Recompress, Status
from rayci.table.row_codes import all_differ, row_codes
from rayci.table.schema import KEY, SCHEMA, VERSIONS
from rayci.table.stored_rows import Rows, StoredRows

_VOCABULARIES: Mapping[str, Collection[Any]] = {
    "schema_version": VERSIONS,
    "direction": tuple(Direction),
    "recompress": tuple(Recompress),
    "status": tuple(Status),
}


def check(table: Rows) -> list[str]:
    """What breaks the contract of the table, in words; empty when it holds."""
    return [*_doubled(table), *broken_cells(table)]


def _doubled(table: Rows) -> list[str]:
    """Whether a key occurs twice."""
    codes = row_codes(table, KEY, ranked=False)
    if all_differ(codes):
        return []
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    doubled = first[counts > 1]
    return [f"{len(doubled)} rows occur twice, first {named(table, int(doubled.min()))}"]


def broken_cells(table: Rows) -> list[str]:
    """What breaks the contract in single rows, in words."""
    empty = [field.name for field in SCHEMA if not field.nullable and _lacks(table, field.name)]
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


def _lacks(table: Rows, name: str) -> bool:
    """Whether a column has no value somewhere; a file says so of itself, unless the column is nested."""
    return bool(table.null_count(name) if isinstance(table, StoredRows) else table.column(name).null_count)


def named(table: Rows, row: int) -> str:
    """A row by its key, for people."""
    criterion, stage, replicate = (
        table.column(n)[row].as_py() for n in ("criterion", "stage_fingerprint", "replicate")
    )
    return f"{criterion} of stage {stage[:12]}" + ("" if replicate is None else f", replicate {replicate}")
