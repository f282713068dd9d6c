"""The result table: one row per (stage, criterion, replicate), stored as Parquet part files.

Column names, order and types are the file format; a change raises `SCHEMA_VERSION`.
Each part has one writer, appears under its final name only when it is complete, and carries a
checksum over its rows and its metadata (`rayci.storage.sealed`).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rayci import item_values
from rayci.errors import CorruptionError, RequestError
from rayci.kinds import Direction, Kind, Recompress, Scale, Status
from rayci.storage import entries, sealed
from rayci.storage.user_paths import path_of

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

RUN_FILE = "run.json"
"""In a run folder, beside `table/`: the entry that says which sweep it is."""

_SCALES = b"rayci.scales"
_KEY = ("sweep_fingerprint", "stage_fingerprint", "replicate", "criterion")
_ORDER = [(name, "ascending") for name in ("stage", "chain", "stage_fingerprint", "replicate", "seed", "criterion")]
_VOCABULARIES: Mapping[str, Collection[Any]] = {
    "schema_version": (SCHEMA_VERSION,),
    "direction": tuple(Direction),
    "recompress": tuple(Recompress),
    "status": tuple(Status),
}
_REMEDY = "rayci run SPEC again: it sets such a part aside and writes its rows anew"

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
    item_files: tuple[Path, ...] = ()
    """Files of the per-item values beside it; read when they are asked for."""

    @cached_property
    def item_values(self) -> pa.Table | None:
        """Columns as in `rayci.item_values.SCHEMA`, which has what unpacks them; None where there are none.

        Raises CorruptionError where a file is damaged, or two contradict each other, with their names.
        """
        with _remedy():
            return item_values.read(self.item_files)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame; `steps` is a list of dicts."""
        frame: pd.DataFrame = self.arrow.to_pandas()
        return frame

    def __len__(self) -> int:
        return int(self.arrow.num_rows)


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table: rows of one sweep."""

    path: Path
    rows: pa.Table
    """Columns as in `SCHEMA`."""
    scales: Mapping[str, Scale]
    """The scale of every criterion that it has rows of."""

    @property
    def sweep(self) -> str:
        """The sweep's fingerprint."""
        return str(self.rows.column("sweep_fingerprint")[0])


def from_rows(rows: Iterable[Row], scales: Mapping[str, Scale]) -> ResultTable:
    """A table in memory; raises CorruptionError where two rows have the same key."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    if problems := check(table):
        raise CorruptionError("the result table is not valid: " + "; ".join(problems))
    return ResultTable(table.sort_by(_ORDER), dict(scales))


def write_part(rows: Sequence[Row], scales: Mapping[str, Scale], path: Path) -> None:
    """Write one part with its checksum: complete under `path`, or not there at all."""
    used = {name: asdict(scales[name]) for name in sorted({row.criterion for row in rows})}
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    sealed.write(table.replace_schema_metadata({_SCALES: json.dumps(used).encode()}), path)


def read_part(path: Path) -> Part:
    """One part; raises CorruptionError naming the file where it is damaged, or no part of a table."""
    table = sealed.read(path)
    if not table.schema.equals(SCHEMA, check_metadata=False):
        raise CorruptionError(f"{path}: columns are not those of result schema version {SCHEMA_VERSION}")
    try:
        scales = _scales((table.schema.metadata or {})[_SCALES])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptionError(f"{path}: the scales of its criteria cannot be read ({error!r})") from None
    problems = check(table)
    if len(table.column("sweep_fingerprint").unique()) != 1:
        problems.append("its rows are not of one sweep")
    directions = zip(table.column("criterion").to_pylist(), table.column("direction").to_pylist(), strict=True)
    problems += [
        f"the direction of {criterion} is not that of its scale"
        for criterion, direction in sorted(set(directions))
        if criterion not in scales or scales[criterion].direction != direction
    ]
    if problems:
        raise CorruptionError(f"{path}: " + "; ".join(problems))
    return Part(path, table.replace_schema_metadata(None), scales)


def _scales(text: bytes) -> dict[str, Scale]:
    fields_of: dict[str, dict[str, Any]] = json.loads(text)
    return {name: Scale(**{**own, "direction": Direction(own["direction"])}) for name, own in fields_of.items()}


def read(path: Path | str) -> ResultTable:
    """Read a part, a folder of one sweep's parts, or a run folder that holds `table/`.

    Raises RequestError where there is no table; CorruptionError where a part is damaged, or where
    two contradict each other, with their names.
    """
    source = path_of(path)
    folder = source / "table" if (source / "table").is_dir() else source
    files = [folder] if folder.is_file() else sorted(folder.glob("[!.]*.parquet"))
    if not files:
        raise RequestError(
            f"no result table at {source}",
            allowed="a run folder, a folder of Parquet parts, or one part",
            hint="rayci run SPEC, or rayci status RUN to see what has been computed",
        )
    with _remedy():
        parts = [read_part(file) for file in files]
        _refuse_foreign(parts, source / RUN_FILE)
        _refuse_contradictions(parts)
    rows = pa.concat_tables([part.rows for part in parts]).sort_by(_ORDER)
    scales = {name: scale for part in parts for name, scale in part.scales.items()}
    return ResultTable(rows, scales, item_values.files(folder.parent if folder.name == "table" else folder))


@contextmanager
def _remedy() -> Iterator[None]:
    """Say what mends a damaged run."""
    try:
        yield
    except CorruptionError as error:
        raise CorruptionError(f"{error}\n  try: {_REMEDY}") from None


def _refuse_foreign(parts: Iterable[Part], run: Path) -> None:
    """CorruptionError where a part is of another sweep than the run's file says; nothing where that is lost."""
    try:
        sweep = entries.read(run)["fingerprint"]
    except (CorruptionError, KeyError):
        return
    for part in parts:
        if part.sweep != sweep:
            raise CorruptionError(f"{part.path} is of another sweep than {run}")


def _refuse_contradictions(parts: Sequence[Part]) -> None:
    """CorruptionError where two parts are of different sweeps, differ in a scale, or hold the same row."""
    saying: dict[str, Part] = {}
    holding: dict[tuple[Any, ...], Part] = {}
    for part in parts:
        if part.sweep != parts[0].sweep:
            raise CorruptionError(f"{parts[0].path} and {part.path} are of different sweeps")
        for criterion, scale in part.scales.items():
            other = saying.setdefault(criterion, part)
            if other.scales[criterion] != scale:
                raise CorruptionError(f"{other.path} and {part.path} give {criterion} different scales")
        for key in _keys(part.rows):
            other = holding.setdefault(key, part)
            if other is not part:
                raise CorruptionError(f"{other.path} and {part.path} hold the same row: {_named(key)}")


def _keys(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """What tells the rows of a table apart."""
    return zip(*(table.column(name).to_pylist() for name in _KEY), strict=True)


def _named(key: tuple[Any, ...]) -> str:
    """A row by its key, for people."""
    _, stage, replicate, criterion = key
    return f"{criterion} of stage {stage[:12]}" + ("" if replicate is None else f", replicate {replicate}")


def check(table: pa.Table) -> list[str]:
    """What breaks the contract of the table, in words; empty when it holds."""
    problems = []
    doubled = [key for key, count in Counter(_keys(table)).items() if count > 1]
    if doubled:
        problems.append(f"{len(doubled)} rows occur twice, first {_named(doubled[0])}")
    for name in ("value", "stderr"):
        if pc.any(pc.is_nan(table.column(name))).as_py():
            problems.append(f"a {name} is NaN")
    if pc.any(pc.xor(pc.is_valid(table.column("value")), pc.equal(table.column("status"), Status.OK))).as_py():
        problems.append("a value without status ok, or the reverse")
    for name, known in _VOCABULARIES.items():
        unknown = set(table.column(name).unique().to_pylist()) - set(known)
        if unknown:
            problems.append(f"unknown {name} {sorted(unknown, key=str)[0]!r}")
    return problems
