"""Tables that others wrote: `frame.to_parquet()`, polars, DuckDB. No checksum vouches for them: all is looked at.

A file of ours has `rayci.` among the keys of its metadata, whatever has become of it; one that has none is foreign.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayci.errors import CorruptionError, RequestError
from rayci.kinds import Direction, Scale
from rayci.storage.sealed import File, source
from rayci.table.checks import check
from rayci.table.part_file import from_json, to_json
from rayci.table.schema import SCHEMA_1
from rayci.table.stored_rows import Rows, StoredRows, with_schema

_ATTRIBUTES = b"PANDAS_ATTRS"
"""Where pandas keeps `frame.attrs` in a Parquet file."""
_OURS = "rayci.scales"
_TOLD = 6
"""Missing columns that are named."""
_COLUMNS = "load(…).frame has all columns: frame.to_parquet(path) writes them"
_CELLS = "a row with a value (infinite ones too) has status ok; one without has another status and a reason; never NaN"


def attributes(scales: Mapping[str, Scale]) -> dict[str, Any]:
    """What a frame carries along, so that its scales are there again when it is read back."""
    return {_OURS: to_json(scales)}


def is_foreign(file: File) -> bool:
    """Whether somebody else wrote a file; RequestError where it is no Parquet file."""
    with _readable(file), pq.ParquetFile(source(file)) as opened:
        return not any(key.startswith(b"rayci.") for key in opened.schema_arrow.metadata or {})


def read_foreign(file: File) -> tuple[Rows, dict[str, Scale]]:
    """The rows and the scales of the criteria; of a file on this machine, columns are read when they are asked for.

    A scale that the file does not carry has the rows' direction and no range. Raises RequestError naming the file
    where columns are missing, or cannot be what the schema says, or rows break the contract of the table.
    """
    with _readable(file), pq.ParquetFile(source(file)) as opened:
        known, rows = opened.schema_arrow, None if isinstance(file, Path) else opened.read()
    if missing := [name for name in SCHEMA_1.names if name not in known.names]:
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        raise RequestError(
            f"{file} is no result table: it has no column {', '.join(missing[:_TOLD])}{more}", hint=_COLUMNS
        )
    with_schema(known.empty_table(), file)
    held = StoredRows(file) if isinstance(file, Path) else with_schema(rows, file)
    if not held.num_rows:
        raise RequestError(f"{file} is no result table: it has no rows", hint="rayci run SPEC makes one that has")
    if problems := check(held):
        raise RequestError(f"{file} is no result table: " + "; ".join(problems), allowed=_CELLS)
    return held, _scales(known.metadata or {}, held)


def _scales(metadata: Mapping[bytes, bytes], rows: Rows) -> dict[str, Scale]:
    table = pa.table({name: rows.column(name) for name in ("criterion", "direction")}).unify_dictionaries()
    pairs = table.group_by(["criterion", "direction"]).aggregate([]).to_pylist()
    scales = {pair["criterion"]: Scale(Direction(pair["direction"])) for pair in pairs}
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
