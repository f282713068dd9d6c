"""Tables brought into one: equal rows once, and an error where two tables say different things of the same row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayci.errors import RayciError
from rayci.kinds import Scale
from rayci.table.checks import named
from rayci.table.row_codes import row_codes
from rayci.table.schema import SCHEMA, VOLATILE

TOLERANCE = 1e-9
"""Relative difference up to which two numbers are the same."""

PROVENANCE = (
    "schema_version", "sweep", "sweep_fingerprint", "trial_id", "model", "composition", "chain", "device", "versions",
    "reason",
)  # fmt: skip
"""Columns that say where and how a row was made, or how it is called; two runs may measure the same and differ here."""

_COMPARED = [name for name in SCHEMA.names if name not in {*VOLATILE, *PROVENANCE, "steps"}]
"""What the same row must say wherever it stands; the steps are those of its chain and its stage's fingerprint."""


class Conflict(RayciError):  # noqa: N818 - what the sources are in
    """Two sources contradict each other; the text names both, and in what."""


def merged(tables: Mapping[str, pa.Table], key: Sequence[str]) -> pa.Table:
    """All rows of the tables, by name, in their order; of rows with the same key the first one.

    Raises Conflict where rows with the same key differ beyond the tolerance.
    """
    rows = pa.concat_tables(tables.values(), promote_options="default")
    codes = row_codes(rows, key)
    _, first, group = np.unique(codes, return_index=True, return_inverse=True)
    if len(first) == rows.num_rows:
        return rows
    (again,) = np.nonzero(first[group] != np.arange(rows.num_rows))
    held, repeated = rows.take(pa.array(first[group][again])), rows.take(pa.array(again))
    ends = np.cumsum([table.num_rows for table in tables.values()])
    sources = [np.searchsorted(ends, places, side="right") for places in (first[group][again], again)]
    names = list(tables)
    for place in map(int, np.nonzero(sources[0] == sources[1])[0]):
        raise Conflict(f"{names[sources[0][place]]}: rows occur twice, first {named(repeated, place)}")
    for place, text in _differences(held, repeated):
        one, other = (names[source[place]] for source in sources)
        raise Conflict(f"{one} and {other} differ in {named(repeated, place)}: {text}")
    return rows.take(pa.array(np.sort(first)))


def merged_scales(scales: Mapping[str, Mapping[str, Scale]]) -> dict[str, Scale]:
    """The scale of every criterion, from the scales of each source by name; Conflict where two differ in one."""
    distinct: dict[int, tuple[str, Mapping[str, Scale]]] = {}
    for source, own in scales.items():
        distinct.setdefault(id(own), (source, own))  # those of a run's parts are one object
    saying: dict[str, str] = {}
    for source, own in distinct.values():
        for criterion, scale in own.items():
            other = saying.setdefault(criterion, source)
            if replace(scales[other][criterion], chance=scale.chance) != scale:  # chance is as the options of the data
                raise Conflict(f"{other} and {source} give {criterion} different scales")
    return {criterion: scales[source][criterion] for criterion, source in saying.items()}


def _differences(held: pa.Table, repeated: pa.Table) -> Iterator[tuple[int, str]]:
    """(row, what differs there), the first row of each column that differs."""
    for name in _COMPARED:
        one, other = held.column(name), repeated.column(name)
        (differing,) = np.nonzero(~_same(one, other))
        if len(differing):
            place = int(differing[0])
            yield place, f"{name} {_shown(one[place])} and {_shown(other[place])}"


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Any:
    """Whether two columns say the same, row by row; null is null alone."""
    equal = pc.equal(one, other)
    if pa.types.is_floating(one.type):
        far = pc.abs(pc.subtract(one, other))  # NaN where both are infinite
        near = pc.less_equal(far, pc.multiply(TOLERANCE, pc.max_element_wise(pc.abs(one), pc.abs(other))))
        equal = pc.or_(equal, pc.and_(near, pc.is_finite(far)))
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(pc.fill_null(equal, False), both_null).to_numpy(zero_copy_only=False)


def _shown(value: Any) -> str:
    return "nothing" if value.as_py() is None else str(value.as_py())
