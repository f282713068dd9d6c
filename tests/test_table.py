"""The result table: a frozen schema, whole parts or none, no NaN, no key twice."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayci import table
from rayci.errors import CorruptionError, RequestError
from rayci.kinds import UNIT_INTERVAL, Direction, Kind, Recompress, Status
from rayci.table import Row, StepCell

FROZEN = """\
schema_version: int32 not null
sweep: string not null
sweep_fingerprint: string not null
trial_id: string not null
model: string not null
model_fingerprint: string not null
composition: string not null
chain: string not null
final: bool not null
recompress: string not null
steps: list<item: struct<kind: string not null, method: string not null, strength_name: string, strength: double, \
settings: string not null, recompression: string, fingerprint: string not null>> not null
stage: int32 not null
stage_fingerprint: string not null
replicate: int32
seed: int32
criterion: string not null
criterion_fingerprint: string not null
direction: string not null
value: double
stderr: double
n: int64
status: string not null
reason: string
apply_seconds: double
measure_seconds: double
peak_memory_bytes: int64
device: string not null
dtype: string not null
versions: string not null
recorded_at: timestamp[us, tz=UTC] not null"""

STEP = StepCell(
    kind=Kind.COMPRESS,
    method="wanda",
    strength_name="sparsity",
    strength=0.25,
    settings="{}",
    recompression=None,
    fingerprint="f",
)
ROW = Row(
    sweep="s", sweep_fingerprint="sf", trial_id="t", model="m", model_fingerprint="mf", composition="wanda@0.25",
    chain="wanda@0.25", final=True, recompress=Recompress.REFIT, steps=(STEP,), stage=1, stage_fingerprint="a",
    replicate=None, seed=0, criterion="mmlu", criterion_fingerprint="c", direction=Direction.HIGHER, value=0.5,
    stderr=0.1, n=4, status=Status.OK, reason=None, apply_seconds=1.0, measure_seconds=2.0, peak_memory_bytes=None,
    device="cpu", dtype="float32", versions="{}", recorded_at=datetime(2026, 1, 2, tzinfo=UTC),
)  # fmt: skip
SCALES = {"mmlu": UNIT_INTERVAL}


def test_schema_version_1_is_frozen() -> None:
    assert table.SCHEMA_VERSION == 1
    lines = [f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in table.SCHEMA]
    assert "\n".join(lines) == FROZEN
    assert {field.name for field in fields(Row)} == set(table.SCHEMA.names)


def test_round_trip(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, stage_fingerprint="b", value=math.inf)]
    rows.append(replace(ROW, stage_fingerprint="c", value=None, status=Status.FAILED, reason="why"))
    table.write_part(rows, SCALES, tmp_path / "p.parquet")
    read = table.read(tmp_path)
    assert read.arrow.equals(table.from_rows(rows, SCALES).arrow)
    assert read.scales == SCALES
    assert read.frame["value"].tolist()[:2] == [0.5, math.inf]
    assert read.frame["steps"][0][0]["strength"] == 0.25


@pytest.mark.parametrize(
    "changes",
    [
        {"value": math.nan},
        {"stderr": math.nan},
        {"value": None},
        {"status": Status.FAILED},
        {"value": None, "status": Status.SKIPPED},
    ],
)
def test_impossible_rows(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="mmlu"):
        replace(ROW, **changes)


def test_a_key_is_there_once(tmp_path: Path) -> None:
    table.write_part([ROW], SCALES, tmp_path / "p.parquet")
    table.write_part([replace(ROW, value=0.7)], SCALES, tmp_path / "q.parquet")
    with pytest.raises(CorruptionError, match="twice"):
        table.read(tmp_path)


def test_nan_that_someone_else_wrote_is_found() -> None:
    arrow = table.from_rows([ROW], SCALES).arrow
    index = arrow.schema.get_field_index("value")
    forged = arrow.set_column(index, arrow.schema.field("value"), pa.array([math.nan], pa.float64()))
    assert table.check(forged) == ["a value is NaN"]


def test_half_a_part_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table.write_part([ROW], SCALES, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptionError, match=r"p\.parquet"):
        table.read(tmp_path)


def test_foreign_columns_are_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "p.parquet")
    with pytest.raises(CorruptionError, match="schema version 1"):
        table.read(tmp_path)


def test_a_writer_that_dies_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", die)
    with pytest.raises(OSError, match="disk full"):
        table.write_part([ROW], SCALES, tmp_path / "p.parquet")
    assert list(tmp_path.iterdir()) == []


def test_no_table_is_a_request_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no result table"):
        table.read(tmp_path)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    table.write_part([ROW], SCALES, path)
    data = path.read_bytes()
    for place in range(8, len(data) // 3, 97):  # in the pages; a broken footer does not open at all
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with pytest.raises(CorruptionError):
            table.read_part(path)
