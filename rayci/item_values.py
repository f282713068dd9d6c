"""Per-item values: what each item of a reading counted, one row a reading, beside the result table.

`items/` in a run folder holds one Parquet file a stage, with the name of the stage's part in `table/`. It is written
before the part, so that rows whose items are lost do not exist; complete or not there, and with a checksum. Right or
wrong is one bit an item; anything else is a double, so that the mean of the items is the value to its last digits.
Column names, order and types are the file format; a change raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rayci.errors import CorruptionError
from rayci.storage import sealed
from rayci.storage.compaction import COMPACTED, files_of
from rayci.storage.sealed import File, each

Array = npt.NDArray[np.float64]

SCHEMA_VERSION = 1

FOLDER = "items"
"""In a run folder, beside `table/`."""

NONE_KEPT = "no per-item values: it is a published table, or a run whose items/ folder was left behind or not yet kept"
"""What is said of a table without items."""

SCHEMA = pa.schema(
    [
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("stage_fingerprint", pa.string(), nullable=False),
        pa.field("criterion", pa.string(), nullable=False),
        pa.field("criterion_fingerprint", pa.string(), nullable=False),
        pa.field("replicate", pa.int32()),
        pa.field("seed", pa.int32()),
        pa.field("item", pa.string(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("right", pa.binary()),
        pa.field("values", pa.list_(pa.float64())),
        pa.field("weights", pa.list_(pa.float64())),
    ]
)
"""`item`: what one is, in a word (`question`). `n`: how many. `right`: a bit an item, the first the highest of its
byte, where every value is 0 or 1; else `values`. `weights`: null where all items weigh the same."""

KEY = ("stage_fingerprint", "criterion_fingerprint", "replicate")
"""What tells readings apart, also over the runs that share their stages."""


@dataclass(frozen=True, slots=True)
class Items:
    """The items of one reading, in the order of the data."""

    values: tuple[float, ...]
    """May be infinite, never NaN."""
    weights: tuple[float, ...] | None = None
    """How much of the reading's `n` each item is, a document's tokens say; None where each is one."""

    def __post_init__(self) -> None:
        """ValueError for what can be no items."""
        if not self.values or (self.weights is not None and len(self.weights) != len(self.values)):
            raise ValueError(f"{len(self.values)} items with {len(self.weights or ())} weights")
        if np.isnan((*self.values, *(self.weights or ()))).any():
            raise ValueError("an item is NaN")

    @property
    def mean(self) -> float:
        """The weighted mean."""
        return float(np.average(self.values, weights=self.weights))

    def plain(self) -> dict[str, Any]:
        """The same as JSON values, as short as in the data set."""
        right = packed(self.values)
        values = {"values": self.values} if right is None else {"right": right.hex()}
        return {"n": len(self.values), **values, **({"weights": self.weights} if self.weights else {})}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Items:
        """What `plain` came from; KeyError, TypeError or ValueError where it came from nothing."""
        right = plain.get("right")
        values = plain["values"] if right is None else unpacked(bytes.fromhex(right), plain["n"])
        weights = plain.get("weights")
        return cls(tuple(map(float, values)), None if weights is None else tuple(map(float, weights)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """The items of one reading, and which reading that is: the columns of the table's row."""

    stage_fingerprint: str
    criterion: str
    criterion_fingerprint: str
    replicate: int | None
    seed: int | None
    item: str
    items: Items


def packed(values: Sequence[float] | Array) -> bytes | None:
    """One bit an item where all are 0 or 1; None where they are not."""
    array = np.asarray(values, dtype=np.float64)
    return np.packbits(array == 1).tobytes() if ((array == 0) | (array == 1)).all() else None


def unpacked(right: bytes, n: int) -> Array:
    """The `n` zeros and ones of the bits."""
    return np.unpackbits(np.frombuffer(right, dtype=np.uint8), count=n).astype(np.float64)


def to_arrow(rows: Iterable[ItemRow]) -> pa.Table:
    """Rows as in `SCHEMA`."""
    return pa.Table.from_pylist([_cells(row) for row in rows], schema=SCHEMA)


def _cells(row: ItemRow) -> dict[str, Any]:
    right = packed(row.items.values)
    return {
        **{name: getattr(row, name) for name in ("criterion", "item", "seed", *KEY)},
        "schema_version": SCHEMA_VERSION,
        "n": len(row.items.values),
        "right": right,
        "values": row.items.values if right is None else None,
        "weights": row.items.weights,
    }


def values(rows: pa.Table) -> list[Array]:
    """The values of each row, float64 `[n]`, packed or not."""
    columns = (rows.column(name) for name in ("right", "values", "n"))
    return [
        unpacked(right.as_py(), n.as_py()) if right.is_valid else np.asarray(own.values, dtype=np.float64)
        for right, own, n in zip(*columns, strict=True)
    ]


def weights(rows: pa.Table) -> list[Array | None]:
    """The weights of each row, float64 `[n]`; None where all items weigh the same."""
    return [np.asarray(own.values, dtype=np.float64) if own.is_valid else None for own in rows.column("weights")]


def write(rows: Iterable[ItemRow], path: Path) -> None:
    """Write the items of one stage with their checksum: complete under `path`, or not there at all."""
    sealed.write(to_arrow(rows), path)


def read_part(path: File) -> pa.Table:
    """The rows of one file; raises CorruptionError naming it where it is damaged, or no file of items."""
    rows = sealed.read(path)
    if not rows.schema.equals(SCHEMA, check_metadata=False):
        raise CorruptionError(f"{path}: columns are not those of items version {SCHEMA_VERSION}")
    if problem := _problem(rows):
        raise CorruptionError(f"{path}: {problem}")
    return rows.replace_schema_metadata(None)


def _problem(rows: pa.Table) -> str | None:
    """What breaks the contract of the data set, in words; None when it holds."""
    if rows.column("schema_version").unique().to_pylist() not in ([], [SCHEMA_VERSION]):
        return f"its items are not of version {SCHEMA_VERSION}"
    if _distinct(rows) < rows.num_rows:
        return "the items of a reading occur twice"
    n = rows.column("n").to_numpy()
    right = _lengths(pc.binary_length(rows.column("right")))
    held, weighed = (_lengths(pc.list_value_length(rows.column(name))) for name in ("values", "weights"))
    whole = np.where(right < 0, held == n, (right == (n + 7) // 8) & (held < 0)) & ((weighed < 0) | (weighed == n))
    if not whole.all():
        return f"the items of {rows.column('criterion')[int(np.argmin(whole))]} are not as many as it says"
    return None


def _lengths(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Lengths `[rows]`; −1 where there is nothing."""
    lengths: npt.NDArray[np.int64] = pc.fill_null(column, -1).to_numpy()
    return lengths


def _distinct(rows: pa.Table) -> int:
    """How many readings the rows are of."""
    return int(rows.select(KEY).group_by(KEY).aggregate([]).num_rows)


def files(run: Path) -> tuple[Path, ...]:
    """The files of a run's items; none where it has no `items/`, or an empty one."""
    return tuple(files_of(run / FOLDER))


def read(sources: Path | Sequence[File]) -> pa.Table | None:
    """Columns as in `SCHEMA`: a run folder's items, or those of several files; None where there are none.

    Readings that two files hold alike count once. Raises CorruptionError where a file is damaged, or two differ.
    """
    paths: Sequence[File] = files(sources) if isinstance(sources, Path) else sources
    if not paths:
        return None
    try:
        parts = each(paths, read_part)
    except CorruptionError:
        gone = [path for path in paths if isinstance(path, Path) and not path.exists()]
        compacted = {path.parent / COMPACTED for path in gone} - set(gone)
        if not compacted or not all(path.exists() for path in compacted):
            raise
        return read([*compacted, *(path for path in paths if path not in gone)])  # the run ended meanwhile
    rows = pa.concat_tables(parts)
    return rows if _distinct(rows) == rows.num_rows else _once(parts, paths)


def _once(parts: Sequence[pa.Table], paths: Sequence[File]) -> pa.Table:
    """The rows of all files, those that two of them hold only once."""
    holding: dict[tuple[Any, ...], tuple[int, int]] = {}
    once: list[pa.Table] = []
    for number, part in enumerate(parts):
        new = []
        for row, key in enumerate(zip(*(part.column(name).to_pylist() for name in KEY), strict=True)):
            other, place = holding.setdefault(key, (number, row))
            new.append(other == number)
            if other != number and not part.slice(row, 1).equals(parts[other].slice(place, 1)):
                raise CorruptionError(f"{paths[other]} and {paths[number]} differ in the items of stage {key[0][:12]}")
        once.append(part.filter(pa.array(new, pa.bool_())))
    return pa.concat_tables(once)
