"""Tables that version 1 wrote still read, beside rows of today: `tables_of_version_1` holds two of its files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from rayci import analysis, table
from rayci.errors import CorruptionError, RequestError
from rayci.storage import compaction, sealed
from rayci.table.schema import ADDED, SCHEMA_1
from rayci.table.stored_rows import StoredRows
from tests.test_table import FROZEN, ROW, SCALES

OLD = Path(__file__).with_name("tables_of_version_1")
"""`part.parquet`: two rows of the stage `old`; `compacted.parquet`: 1001 rows, sealed by column."""
NEW = replace(ROW, load_seconds=1.5, store_seconds=0.5, idle_seconds=0.25, apply_operations=3e9, device_rate=1e10)


def test_version_1_is_frozen() -> None:
    lines = [line for line in FROZEN.splitlines() if line.split(":")[0] not in ADDED]
    assert [f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in SCHEMA_1] == lines
    for name in ("part", "compacted"):
        assert sealed.read(OLD / f"{name}.parquet").schema.equals(SCHEMA_1, check_metadata=False)


@pytest.mark.parametrize("name", ["part", "compacted"])
def test_rows_of_both_versions_are_one_table(name: str, tmp_path: Path) -> None:
    shutil.copy(OLD / f"{name}.parquet", tmp_path)
    table.write_part([NEW], SCALES, tmp_path / "new.parquet")
    read = table.read(tmp_path)
    frame = read.frame.set_index("stage_fingerprint")
    assert read.arrow.schema.equals(table.SCHEMA) and set(frame["schema_version"]) == {1, 2}
    assert frame.loc["a", list(ADDED)].isna().tolist() == [field == "measure_operations" for field in ADDED]
    old = frame.drop(index="a")
    assert old[list(ADDED)].isna().all(axis=None) and set(old["schema_version"]) == {1} and set(old["n"]) == {4}
    table.write_joined(sorted(tmp_path.glob("*.parquet")), tmp_path / "joined" / "all.parquet")
    assert table.read(tmp_path / "joined").arrow.equals(read.arrow)


def test_the_same_row_of_both_versions_counts_once(tmp_path: Path) -> None:
    shutil.copy(OLD / "compacted.parquet", tmp_path)
    again = replace(NEW, stage_fingerprint="00001", value=1 / 1001)
    table.write_part([again], SCALES, tmp_path / "new.parquet")
    assert len(table.read(tmp_path)) == 1001
    table.write_part([replace(again, value=0.3)], SCALES, tmp_path / "new.parquet")
    with pytest.raises(CorruptionError, match=r"differ in mmlu of stage 00001: value 0\.00\d+ and 0\.3"):
        table.read(tmp_path)


def test_readings_are_dropped_from_a_part_of_version_1(tmp_path: Path) -> None:
    shutil.copy(OLD / "compacted.parquet", tmp_path)
    compaction.remove(tmp_path, ["00001", "00002"])
    assert len(table.read(tmp_path)) == 999
    assert sealed.read(tmp_path / "compacted.parquet").schema.equals(SCHEMA_1, check_metadata=False)


def test_what_others_made_of_version_1_reads(tmp_path: Path) -> None:
    pl.read_parquet(OLD / "part.parquet").write_parquet(tmp_path / "mine.parquet")
    mine = analysis.load(tmp_path / "mine.parquet")
    assert isinstance(mine.rows, StoredRows)
    assert mine.columns(["idle_seconds"]).collect()["idle_seconds"].to_list() == [None, None]
    assert mine.columns(["load_seconds", "value"]).collect().schema["load_seconds"] == pl.Float64
    assert mine.rows.column("device_rate").to_pylist() == [None, None]
    assert mine.frame["apply_operations"].isna().all()
    pl.read_parquet(OLD / "part.parquet").drop("n").write_parquet(tmp_path / "less.parquet")
    with pytest.raises(RequestError, match=r"it has no column n\n"):
        analysis.load(tmp_path / "less.parquet")
