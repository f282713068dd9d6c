"""The result table in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayci import item_values
from rayci.errors import CorruptionError
from rayci.kinds import Scale
from rayci.storage import sealed
from rayci.storage.sealed import File
from rayci.table.checks import check
from rayci.table.foreign import attributes
from rayci.table.part_file import with_scales
from rayci.table.row import Row
from rayci.table.row_codes import in_order
from rayci.table.schema import ORDER, SCHEMA
from rayci.table.stored_rows import STEPS_AT_ONCE, Rows, StoredRows

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_REMEDY = "rayci run SPEC again: it sets such a part aside and writes its rows anew"


@dataclass(frozen=True, repr=False)
class ResultTable:
    """A validated result table and the scales of its criteria."""

    rows: Rows
    """All rows, or the file in which they stay until they are asked for."""
    scales: Mapping[str, Scale]
    item_files: tuple[File, ...] = ()
    """Files of the per-item values beside it; read when they are asked for."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """How many parameters a model has, by its fingerprint, where its run says so."""

    @cached_property
    def arrow(self) -> pa.Table:
        """Columns as in `SCHEMA`; sorted by chain, replicate, seed and criterion unless somebody else wrote them."""
        return self.rows.read() if isinstance(self.rows, StoredRows) else self.rows

    @cached_property
    def item_values(self) -> pa.Table | None:
        """Columns as in `rayci.item_values.SCHEMA`, which has what unpacks them; None where there are none.

        Raises CorruptionError where a file is damaged, or two contradict each other, with their names.
        """
        with remedy():
            return item_values.read(self.item_files)

    def columns(self, names: Sequence[str]) -> pl.LazyFrame:
        """Some columns of all rows, in the table's order; what is not asked for is not read."""
        import polars as pl

        if isinstance(self.rows, StoredRows):
            return self.rows.columns(names)
        frame = pl.from_arrow(self.arrow.select(list(names)), rechunk=False)
        return cast("pl.DataFrame", frame).lazy()

    def steps(self, places: NDArray[np.intp]) -> Iterator[pa.ChunkedArray]:
        """The steps of the rows at rising places, `ASKED` of each (in memory all fields), some rows after the other.

        Steps are nested, and much larger than what is made of them.
        """
        if isinstance(self.rows, StoredRows):
            yield from self.rows.steps(places)
            return
        for start in range(0, len(places), STEPS_AT_ONCE):
            yield self.arrow.column("steps").take(pa.array(places[start : start + STEPS_AT_ONCE]))

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame; `steps` is a list of dicts. `frame.to_parquet()` keeps the scales."""
        frame: pd.DataFrame = self.arrow.to_pandas()
        frame.attrs.update(attributes(self.scales))
        return frame

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} rows: {', '.join(sorted(self.scales))}>"

    def write(self, path: Path) -> None:
        """Write the rows and the scales of their criteria as one file: complete under `path`, or not there at all."""
        sealed.write(with_scales(self.arrow, self.scales), path)


def from_rows(rows: Iterable[Row], scales: Mapping[str, Scale]) -> ResultTable:
    """A table in memory; raises CorruptionError where two rows have the same key."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    if problems := check(table):
        raise CorruptionError("the result table is not valid: " + "; ".join(problems))
    return ResultTable(in_order(table, ORDER), dict(scales))


@contextmanager
def remedy() -> Iterator[None]:
    """Say what mends a damaged run."""
    try:
        yield
    except CorruptionError as error:
        raise CorruptionError(f"{error}\n  try: {_REMEDY}") from None
