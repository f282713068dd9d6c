"""Tables that others wrote: `frame.to_parquet()`, polars, DuckDB. No checksum vouches for them: all is looked at.

A file of ours has `rayci.` among the keys of its metadata, whatever has become of it; one that has none is foreign.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayci.errors import CorruptionError, RequestError
from rayci.kinds import Direction, Scale
from rayci.storage.sealed import File, source
from rayci.table.checks import check
from rayci.table.part_file import from_json, to_json
from rayci.table.schema import SCHEMA

_ATTRIBUTES = b"PANDAS_ATTRS"
"""Where pandas keeps `frame.attrs` in a Parquet file."""
_OURS = "rayci.scales"
_HINT = "load(…).frame has all columns: frame.to_parquet(path) writes them"


def attributes(scales: Mapping[str, Scale]) -> dict[str, Any]:
    """What a frame carries along, so that its scales are there again when it is read back."""
    return {_OURS: to_json(scales)}


def is_foreign(file: File) -> bool:
    """Whether somebody else wrote a file; RequestError where it is no Parquet file."""
    with _readable(file), pq.ParquetFile(source(file)) as opened:
        return not any(key.startswith(b"rayci.") for key in opened.schema_arrow.metadata or {})


def read_foreign(file: File) -> tuple[pa.Table, dict[str, Scale]]:
    """The rows, columns as in `SCHEMA` and then those that it does not know, and the scales of the criteria.

    A scale that the file does not carry has the rows' direction and no range. Raises RequestError naming the file
    where columns are missing, or cannot be what the schema says, or rows break the contract of the table.
    """
    with _readable(file):
        table = pq.ParquetFile(source(file)).read()
    if missing := [name for name in SCHEMA.names if name not in table.schema.names]:
        raise RequestError(f"{file} is no result table: it has no column {', '.join(missing)}", hint=_HINT)
    rows = pa.table([_column(table, field, file) for field in SCHEMA], schema=SCHEMA)
    problems = check(rows) if rows.num_rows else ["it has no rows"]
    if problems:
        raise RequestError(f"{file} is no result table: " + "; ".join(problems), hint=_HINT)
    scales = _scales(table.schema.metadata or {}, rows)
    for name in table.schema.names:
        rows = rows if name in SCHEMA.names else rows.append_column(name, table.column(name))
    return rows, scales


def _column(table: pa.Table, field: pa.Field, file: File) -> pa.ChunkedArray:
    """One column with the type that it has in the schema."""
    column = table.column(field.name)
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return column.cast(field.type)
    except (pa.ArrowException, NotImplementedError) as error:
        problem = f"{file} is no result table: its column {field.name} is {column.type}, not {field.type}"
        raise RequestError(problem, hint=str(error)) from None


def _scales(metadata: Mapping[bytes, bytes], rows: pa.Table) -> dict[str, Scale]:
    pairs = rows.select(["criterion", "direction"]).group_by(["criterion", "direction"]).aggregate([])
    scales = {pair["criterion"]: Scale(Direction(pair["direction"])) for pair in pairs.to_pylist()}
    try:
        carried = from_json(json.loads(metadata[_ATTRIBUTES])[_OURS])
    except (KeyError, TypeError, ValueError, AttributeError):
        return scales
    known = {name: scale for name, scale in carried.items() if name in scales}
    return scales | {name: scale for name, scale in known.items() if scale.direction is scales[name].direction}


@contextmanager
def _readable(file: File) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, CorruptionError) as error:
        raise RequestError(
            f"{file} is no complete Parquet file ({error})",
            allowed="a file that rayci, pandas or polars wrote",
            hint="the run folder that it came from, or the file once more",
        ) from None
