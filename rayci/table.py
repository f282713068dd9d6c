"""The result table: one row per (stage, criterion, replicate), stored as Parquet part files.

Column names, order and types are the file format; a change raises `SCHEMA_VERSION`.
Each part has one writer and appears under its final name only when it is complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayci.errors import CorruptionError, RequestError
from rayci.kinds import Direction, Kind, Recompress, Scale, Status
from rayci.storage.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

VOLATILE = ("apply_seconds", "measure_seconds", "peak_memory_bytes", "recorded_at")
"""Columns that differ between two runs of the same sweep: times and what hosts report."""

STEP = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("strength_name", pa.string()),
        pa.field("strength", pa.float64()),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("recompression", pa.string()),
        pa.field("fingerprint", pa.string(), nullable=False),
    ]
)

SCHEMA = pa.schema(
    [
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("sweep", pa.string(), nullable=False),
        pa.field("sweep_fingerprint", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_fingerprint", pa.string(), nullable=False),
        pa.field("composition", pa.string(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("final", pa.bool_(), nullable=False),
        pa.field("recompress", pa.string(), nullable=False),
        pa.field("steps", pa.list_(STEP), nullable=False),
        pa.field("stage", pa.int32(), nullable=False),
        pa.field("stage_fingerprint", pa.string(), nullable=False),
        pa.field("replicate", pa.int32()),
        pa.field("seed", pa.int32()),
        pa.field("criterion", pa.string(), nullable=False),
        pa.field("criterion_fingerprint", pa.string(), nullable=False),
        pa.field("direction", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("stderr", pa.float64()),
        pa.field("n", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("apply_seconds", pa.float64()),
        pa.field("measure_seconds", pa.float64()),
        pa.field("peak_memory_bytes", pa.int64()),
        pa.field("device", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("versions", pa.string(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCell:
    """One applied step as the table shows it."""

    kind: Kind
    method: str
    strength_name: str | None
    strength: float | None
    """γ as a number; for n:m sparsity the share n/m."""
    settings: str
    """Effective settings as canonical JSON."""
    recompression: str | None
    """`refit` or `reproject` where this step is the re-compression of an earlier one."""
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value, or the reason why there is none."""

    sweep: str
    sweep_fingerprint: str
    trial_id: str
    """The trial that measured the stage: the first in the plan's order that contains it."""
    model: str
    model_fingerprint: str
    composition: str
    """The steps as asked, up to this stage, without re-compression; empty = untouched model."""
    chain: str
    """Everything that was applied, re-compression included."""
    final: bool
    """The composition ends here under the sweep's re-compression policy."""
    recompress: Recompress
    steps: tuple[StepCell, ...]
    stage: int
    """Number of steps applied; 0 is the untouched model."""
    stage_fingerprint: str
    replicate: int | None
    """Edit batch; None where neither the stage nor the criterion depends on it."""
    seed: int | None
    """Seed index; None where nothing on the stage was drawn."""
    criterion: str
    criterion_fingerprint: str
    direction: Direction
    value: float | None
    """None unless status is ok; infinite is allowed, NaN is not."""
    stderr: float | None
    n: int | None
    status: Status
    reason: str | None
    apply_seconds: float | None
    measure_seconds: float | None
    peak_memory_bytes: int | None
    """Peak accelerator memory of applying the stage's last step and of measuring; None on a CPU."""
    device: str
    dtype: str
    versions: str
    recorded_at: datetime
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if (self.value is None) == (self.status is Status.OK):
            raise ValueError(f"{self.criterion} on {self.chain!r}: a value needs status ok and ok needs a value")
        if self.status is not Status.OK and not self.reason:
            raise ValueError(f"{self.criterion} on {self.chain!r}: status {self.status} needs a reason")
        if any(number is not None and math.isnan(number) for number in (self.value, self.stderr)):
            raise ValueError(f"{self.criterion} on {self.chain!r}: NaN never enters the table")


@dataclass(frozen=True)
class ResultTable:
    """A validated result table and the scales of its criteria."""

    arrow: pa.Table
    """Columns as in `SCHEMA`, sorted by chain, replicate, seed and criterion."""
    scales: Mapping[str, Scale]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame; `steps` is a list of dicts."""
        frame: pd.DataFrame = self.arrow.to_pandas()
        return frame

    def __len__(self) -> int:
        return int(self.arrow.num_rows)


def from_rows(rows: Iterable[Row], scales: Mapping[str, Scale]) -> ResultTable:
    """A table in memory; raises CorruptionError where two rows have the same key."""
    return _table([pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)], scales)


def write_part(rows: Sequence[Row], scales: Mapping[str, Scale], path: Path) -> None:
    """Write one part atomically: complete under `path`, or not there at all."""
    used = {name: asdict(scales[name]) for name in sorted({row.criterion for row in rows})}
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    table = table.replace_schema_metadata({b"rayci.scales": json.dumps(used).encode()})
    with replacing(path) as temporary:
        # A part is a few rows: without statistics and dictionaries it is smaller, and faster to write.
        pq.write_table(table, temporary, use_dictionary=False, write_statistics=False, write_page_checksum=True)


def read_part(path: Path) -> tuple[pa.Table, dict[str, Scale]]:
    """One part; raises CorruptionError naming the file where it is truncated or foreign."""
    try:
        table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise CorruptionError(f"{path}: not a complete Parquet file ({error})") from error
    if not table.schema.equals(SCHEMA, check_metadata=False):
        raise CorruptionError(f"{path}: columns are not those of result schema version {SCHEMA_VERSION}")
    metadata = json.loads((table.schema.metadata or {}).get(b"rayci.scales", b"{}"))
    scales = {
        name: Scale(**{**fields, "direction": Direction(fields["direction"])}) for name, fields in metadata.items()
    }
    return table.replace_schema_metadata(None), scales


def read(path: Path | str) -> ResultTable:
    """Read a part file, a folder of parts, or a run folder that holds `table/`."""
    given = Path(path)
    folder = given / "table" if (given / "table").is_dir() else given
    parts = [folder] if folder.is_file() else sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    parts = [part for part in parts if not part.name.startswith(".")]
    if not parts:
        raise RequestError(
            f"no result table at {given}",
            allowed="a run folder, a folder of Parquet parts, or one part",
            hint="rayci run SPEC, or rayci status RUN to see what has been computed",
        )
    tables, scales = [], dict[str, Scale]()
    for part in parts:
        table, found = read_part(part)
        tables.append(table)
        scales.update(found)
    return _table(tables, scales)


def _table(tables: list[pa.Table], scales: Mapping[str, Scale]) -> ResultTable:
    order = ("stage", "chain", "stage_fingerprint", "replicate", "seed", "criterion")
    arrow = pa.concat_tables(tables).sort_by([(name, "ascending") for name in order])
    problems = check(arrow)
    if problems:
        raise CorruptionError("the result table is not valid: " + "; ".join(problems))
    return ResultTable(arrow, dict(scales))


def check(table: pa.Table) -> list[str]:
    """What breaks the contract of the table, in words; empty when it holds."""
    problems = []
    keys: dict[tuple[Any, ...], int] = {}
    names = ("sweep_fingerprint", "stage_fingerprint", "replicate", "criterion")
    for key in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        keys[key] = keys.get(key, 0) + 1
    doubled = [key for key, count in keys.items() if count > 1]
    if doubled:
        problems.append(f"{len(doubled)} keys occur twice, first {doubled[0]}")
    values, statuses = table.column("value").to_pylist(), table.column("status").to_pylist()
    if any(value is not None and math.isnan(value) for value in values):
        problems.append("a value is NaN")
    if any((value is None) == (status == Status.OK) for value, status in zip(values, statuses, strict=True)):
        problems.append("a value without status ok, or the reverse")
    return problems
