"""The result table: a frozen schema, whole parts or none, no NaN, no key twice."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
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
from rayci.storage import sealed
from rayci.storage.entries import encode
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
load_seconds: double
apply_seconds: double
measure_seconds: double
store_seconds: double
idle_seconds: double
apply_operations: double
measure_operations: double
device_rate: double
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


def test_schema_version_2_is_frozen() -> None:
    assert table.SCHEMA_VERSION == 2
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
    assert repr(read) == "<ResultTable of 3 rows: mmlu>"


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
    for name, value in (("p", 0.5), ("q", 0.7)):
        table.write_part([replace(ROW, value=value)], SCALES, tmp_path / f"{name}.parquet")
    with pytest.raises(
        CorruptionError,
        match=r"p\.parquet and .*q\.parquet differ in mmlu of stage a: value 0.5 and 0.7\n(?s:.*)try: rayci run SPEC",
    ):
        table.read(tmp_path)
    with pytest.raises(CorruptionError, match="twice"):
        table.from_rows([ROW, replace(ROW, value=0.7)], SCALES)


def changed(arrow: pa.Table, **cells: Any) -> pa.Table:
    """The table with other values in the first row."""
    rows = arrow.to_pylist()
    return pa.Table.from_pylist([{**rows[0], **cells}, *rows[1:]], schema=arrow.schema)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"value": math.nan}, "a value is NaN"),
        ({"stderr": math.nan}, "a stderr is NaN"),
        ({"value": None}, "a value without status ok, or the reverse"),
        ({"status": "perhaps"}, "unknown status 'perhaps'"),
        ({"direction": "up"}, "unknown direction 'up'"),
        ({"recompress": "twice"}, "unknown recompress 'twice'"),
        ({"schema_version": 3}, "unknown schema_version 3"),
    ],
)
def test_what_someone_else_wrote_is_checked(cells: dict[str, Any], problem: str) -> None:
    assert problem in table.check(changed(table.from_rows([ROW], SCALES).arrow, **cells))


FORGERIES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "a flipped final": lambda part: changed(part, final=False),
    "a direction": lambda part: changed(part, direction="lower"),
    "a value": lambda part: changed(part, value=0.7),
    "a row less": lambda part: part.slice(1),
    "a row twice": lambda part: pa.concat_tables([part, part.slice(0, 1)]),
    "another order": lambda part: part.take([1, 0]),
    "a scale's high": lambda part: part.replace_schema_metadata(
        {**part.schema.metadata, b"rayci.scales": part.schema.metadata[b"rayci.scales"].replace(b"1.0", b"2.0")}
    ),
    "no checksum": lambda part: part.replace_schema_metadata({b"rayci.scales": part.schema.metadata[b"rayci.scales"]}),
    "a frame of one's own": lambda part: pa.Table.from_pandas(part.to_pandas()),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_part_that_was_changed_is_an_error(forgery: str, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table.write_part([ROW, replace(ROW, stage_fingerprint="b")], SCALES, path)
    pq.write_table(FORGERIES[forgery](pq.read_table(path)), path)
    with pytest.raises(CorruptionError, match=r"p\.parquet: .*checksum(?s:.*)try: rayci run SPEC again"):
        table.read(path)


def test_the_checksum_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table.write_part([ROW, replace(ROW, stage_fingerprint="b", value=math.inf, n=None)], SCALES, path)
    before = table.read(path)
    pq.write_table(pq.read_table(path), path, compression="zstd", use_dictionary=True, row_group_size=1)
    assert table.read(path).arrow.equals(before.arrow)


def test_a_criterion_has_one_scale(tmp_path: Path) -> None:
    table.write_part([ROW], SCALES, tmp_path / "p.parquet")
    table.write_part(
        [replace(ROW, stage_fingerprint="b")], {"mmlu": replace(UNIT_INTERVAL, high=2.0)}, tmp_path / "q.parquet"
    )
    with pytest.raises(CorruptionError, match=r"p\.parquet and .*q\.parquet give mmlu different scales"):
        table.read(tmp_path)
    table.write_part([replace(ROW, direction=Direction.LOWER)], SCALES, tmp_path / "r.parquet")
    with pytest.raises(CorruptionError, match=r"r\.parquet: the direction of mmlu is not that of its scale"):
        table.read_part(tmp_path / "r.parquet")


def test_a_table_is_of_one_sweep(tmp_path: Path) -> None:
    other = replace(ROW, stage_fingerprint="b", sweep_fingerprint="other")
    table.write_part([ROW], SCALES, tmp_path / "table" / "p.parquet")
    (tmp_path / "run.json").write_bytes(encode({"fingerprint": "other"}, "run.json"))
    with pytest.raises(CorruptionError, match=r"p\.parquet is of another sweep than .*run\.json"):
        table.read(tmp_path)
    table.write_part([other], SCALES, tmp_path / "table" / "q.parquet")
    with pytest.raises(CorruptionError, match=r"p\.parquet and .*q\.parquet are of different sweeps"):
        table.read(tmp_path / "table")
    table.write_part([ROW, other], SCALES, tmp_path / "r.parquet")
    with pytest.raises(CorruptionError, match="not of one sweep"):
        table.read(tmp_path / "r.parquet")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_part_that_is_no_file(kind: str, tmp_path: Path) -> None:
    table.write_part([ROW], SCALES, tmp_path / "p.parquet")
    path = tmp_path / "q.parquet"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(CorruptionError, match=r"q\.parquet: not a file"):
        table.read(tmp_path)


def test_half_a_part_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table.write_part([ROW], SCALES, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptionError, match=r"p\.parquet"):
        table.read(tmp_path)


def test_foreign_columns_are_an_error(tmp_path: Path) -> None:
    sealed.write(pa.table({"a": [1]}), tmp_path / "p.parquet")
    with pytest.raises(CorruptionError, match="schema version 1 or 2"):
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
    data, rows, found = path.read_bytes(), table.read_part(path).rows, 0
    for place in range(8, len(data) // 3, 97):  # in the pages; a broken footer does not open at all
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            assert table.read_part(path).rows.equals(rows)  # a byte that nobody reads
        except CorruptionError:
            found += 1
    assert found > 20


def many(count: int) -> list[Row]:
    return [replace(ROW, stage_fingerprint=f"{number:05}", value=number / count) for number in range(count)]


@pytest.mark.parametrize("forgery", [name for name in FORGERIES if "frame" not in name])
def test_a_file_of_many_rows_is_sealed_by_column(forgery: str, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table.write_part(many(sealed.FEW + 1), SCALES, path)
    whole = pq.read_table(path)
    assert whole.schema.metadata[b"rayci.checksum"].startswith(b"columns:")
    expected = table.read(path).arrow
    pq.write_table(whole, path, compression="zstd", row_group_size=100)
    assert table.read(path).arrow.equals(expected)
    assert sealed.read(path, ["value"]).column("value").equals(expected.column("value"))
    whole = whole if forgery != "another order" else whole.slice(0, 2)
    pq.write_table(FORGERIES[forgery](whole), path)
    with pytest.raises(CorruptionError, match="checksum"):
        table.read(path)


def test_a_row_in_two_files_counts_once(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, stage_fingerprint="b", replicate=3)]
    table.write_part(rows, SCALES, tmp_path / "all.parquet")
    later = replace(ROW, recorded_at=datetime(2027, 1, 1, tzinfo=UTC), apply_seconds=9.0, value=0.5 + 1e-12)
    table.write_part([later], SCALES, tmp_path / "b.parquet")
    assert table.read(tmp_path).arrow.equals(table.from_rows(rows, SCALES).arrow)
    table.write_part([replace(later, n=5)], SCALES, tmp_path / "b.parquet")
    with pytest.raises(CorruptionError, match=r"all\.parquet and .*b\.parquet differ in mmlu of stage a: n 4 and 5"):
        table.read(tmp_path)


def test_many_rows_with_the_checksum_of_few_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As versions before the checksum by column wrote them."""
    rows = many(sealed.FEW + 1)
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "FEW", len(rows))
        table.write_part(rows, SCALES, tmp_path / "p.parquet")
    assert not pq.read_schema(tmp_path / "p.parquet").metadata[b"rayci.checksum"].startswith(b"columns:")
    assert table.read(tmp_path).arrow.equals(table.from_rows(rows, SCALES).arrow)
    assert sealed.read(tmp_path / "p.parquet", ["value"]).schema.names == ["value"]
