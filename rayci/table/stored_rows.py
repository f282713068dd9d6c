"""Rows that stay in their file: a column is read when it is asked for, so that ten million rows fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayci.errors import RequestError
from rayci.table.schema import ADDED, SCHEMA, STEP, as_version_2

if TYPE_CHECKING:
    import polars as pl

ASKED = tuple(name for name in STEP.names if name != "fingerprint")
"""What a step was asked to be; its fingerprint differs between replicates."""
STEPS_AT_ONCE = 2**20
"""Rows of a table in memory whose steps are taken together."""


@dataclass(frozen=True)
class StoredRows:
    """The rows of a Parquet file on this machine that has all columns of `SCHEMA_1`, whatever their exact types."""

    path: Path

    @cached_property
    def _metadata(self) -> Any:
        return pq.read_metadata(self.path)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self._metadata.num_rows)

    def null_count(self, name: str) -> int:
        """How many rows have no value in a column, as the file says; 0 for a nested one, of which it does not."""
        places = [
            place for place in range(self._metadata.num_columns) if self._metadata.schema.column(place).path == name
        ]
        groups = [self._metadata.row_group(group) for group in range(self._metadata.num_row_groups)]
        counted = [group.column(place).statistics for place in places for group in groups]
        if any(statistics is None or not statistics.has_null_count for statistics in counted):
            return int(self.column(name).null_count)
        return sum(statistics.null_count for statistics in counted)

    def _lacks(self, name: str) -> bool:
        """Whether the file is older than a column, which then is null."""
        return name in ADDED and name not in self._metadata.schema.names

    def column(self, name: str) -> pa.ChunkedArray:
        """One column, texts as dictionaries; RequestError where it cannot be what the schema says."""
        if self._lacks(name):
            return pa.chunked_array([pa.nulls(self.num_rows, SCHEMA.field(name).type)])
        texts = [name] if pa.types.is_string(SCHEMA.field(name).type) else None
        return fitting(pq.read_table(self.path, columns=[name], read_dictionary=texts), name, self.path)

    def columns(self, names: Sequence[str]) -> pl.LazyFrame:
        """Some columns; what is not asked for is not read."""
        import polars as pl

        types = pl.DataFrame(SCHEMA.empty_table()).schema
        rows = pl.scan_parquet(self.path, glob=False).with_columns(
            pl.lit(None).alias(name) for name in names if self._lacks(name)
        )
        return rows.select(pl.col(name).cast(types[name]) for name in names)

    def steps(self, places: NDArray[np.intp]) -> Iterator[pa.ChunkedArray]:
        """The steps of the rows at rising places, `ASKED` of each, one row group of the file after the other."""
        leaves = [self._metadata.schema.column(place).path for place in range(self._metadata.num_columns)]
        asked = [path for path in leaves if path.startswith("steps.") and path.rsplit(".", 1)[-1] in ASKED]
        kind, start = pa.list_(pa.struct([STEP.field(name) for name in ASKED])), 0
        with pq.ParquetFile(self.path, read_dictionary=asked) as file:  # texts as numbers: few differ
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = places[np.searchsorted(places, start) : np.searchsorted(places, end)] - start
                if len(here):
                    yield file.read_row_group(group, columns=asked).column("steps").take(pa.array(here)).cast(kind)
                start = end

    def read(self) -> pa.Table:
        """All columns as in `SCHEMA`, then those that it does not know."""
        return with_schema(pq.read_table(self.path), self.path)


def with_schema(rows: pa.Table, source: object) -> pa.Table:
    """The rows with the columns and types of `SCHEMA`, then the columns that it does not know."""
    rows = as_version_2(rows)
    known = pa.table([_plain(fitting(rows, name, source)) for name in SCHEMA.names], schema=SCHEMA)
    for name in rows.schema.names:
        known = known if name in SCHEMA.names else known.append_column(name, rows.column(name))
    return known


def fitting(rows: pa.Table, name: str, source: object) -> pa.ChunkedArray:
    """A column with the type of the schema, as a dictionary where it is one; RequestError where it cannot have it."""
    column, kind = rows.column(name), SCHEMA.field(name).type
    try:
        return column.cast(pa.dictionary(pa.int32(), kind) if pa.types.is_dictionary(column.type) else kind)
    except (pa.ArrowException, NotImplementedError) as error:
        problem = f"{source} is no result table: its column {name} is {column.type}, not {kind} ({error})"
        raise RequestError(problem, hint="cast that column before it is written") from None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


Rows = pa.Table | StoredRows
"""What has `num_rows` and gives a `column`."""
